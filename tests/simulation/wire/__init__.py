"""The real plug-in for RabbitMQ on bytes, and a model of RabbitMQ that speaks AMQP."""
