"""World `pubsub`: the plug-in for Redis as the broker, before a model of servers that pass events on and keep none."""
