"""Shards: queues with a single active consumer, a sink that keeps an order, and a judge of the order in the stream."""
