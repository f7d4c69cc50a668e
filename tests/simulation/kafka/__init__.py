"""The real sink of Kafka before stand-ins of librdkafka's clients, and a model of their cluster."""
