"""mq-bridge, a general bridge with a core in Rust, as a process that does nothing but run one route."""

from __future__ import annotations

import json
import logging
import sys

from mq_bridge import Route, init_logging


def main() -> None:
    """Run the route that is given as JSON, until killed."""
    logging.basicConfig(level=logging.WARNING)
    init_logging("warn")
    Route.from_config(json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    main()
