"""Commands in this process."""

from __future__ import annotations

from click.testing import CliRunner

from celery_event_bridge import cli


def invoke(*arguments: str) -> tuple[int, str]:
    """Exit code and both outputs of a command in this process."""
    runner = CliRunner()
    with runner.isolation() as (out, err, _):
        code = cli.exit_code_of(list(arguments))
        return code, out.getvalue().decode() + err.getvalue().decode()
