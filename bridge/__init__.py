"""Celery's events, off the broker and into a durable stream."""

__version__ = "0.1.0"
