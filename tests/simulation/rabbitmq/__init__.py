"""Model of RabbitMQ's queues, channels and connections, at whatever height it is asked."""
