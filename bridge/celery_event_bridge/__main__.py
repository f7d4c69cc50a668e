"""`celery-event-bridge`, and `python -m celery_event_bridge`."""

from celery_event_bridge.process.early import end_at_once


def main() -> None:
    """Run the command line; until it is imported, a signal ends the process at once."""
    end_at_once()
    from celery_event_bridge.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
