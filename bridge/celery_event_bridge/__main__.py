"""`python -m celery_event_bridge` is `celery-event-bridge`."""

from celery_event_bridge.cli import main

main()
