"""The command line that waits a second for a stream, where people get ten, and two for a reader that died."""

import sys

from celery_event_bridge.brokers.rabbitmq import target
from celery_event_bridge.cli import audit, ends, main, tail

target.PATIENCE = 3.0
audit.PATIENCE = tail.PATIENCE = ends.PATIENCE = 1.0
ends.LEASE = 2.0
main(sys.argv[1:])
