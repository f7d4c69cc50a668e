"""The command line that waits a second for a stream, where people get ten."""

import sys

from bridge.cli import audit, main, tail

audit.PATIENCE = tail.PATIENCE = 1.0
main(sys.argv[1:])
