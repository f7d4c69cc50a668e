"""World `wire` with operators in it, whose commands are killed at any step and said again."""
