"""The command line that waits a second for a stream, where people get ten, and two for a reader that died."""

import sys

from celery_event_bridge.brokers.rabbitmq import target
from celery_event_bridge.cli import audit, main, source_and_target, tail

target.PATIENCE = 3.0
audit.PATIENCE = tail.PATIENCE = source_and_target.PATIENCE = 1.0
source_and_target.LEASE = 2.0
main(sys.argv[1:])
