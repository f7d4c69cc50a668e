"""The audit beside the world: it finds what the world has dropped, by the workers' own account."""
