"""`python -m bridge` is `celery-event-bridge`."""

from bridge.cli import main

main()
