"""What Flower is configured with: events in msgpack as well as in JSON, which it takes in any case."""

event_serializer = "msgpack"
