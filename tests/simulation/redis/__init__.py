"""The real sink of Redis on bytes, and a model of Redis that speaks RESP."""
