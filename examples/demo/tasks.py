"""A Celery app of a few tasks: some succeed, some fail, some retry, some are revoked before they start."""

from __future__ import annotations

import json
import os
import random

from celery import Celery, Task

app = Celery("demo", broker=os.environ.get("DEMO_BROKER_URL", "amqp://"))
app.conf.update(
    task_send_sent_event=True,
    worker_send_task_events=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    # RabbitMQ 3.10 may lose what is published without a confirm just before a worker that stops closes its connection.
    # Of what else a broker needs the demo is told by its caller.
    broker_transport_options={"confirm_publish": True, **json.loads(os.environ.get("DEMO_TRANSPORT_OPTIONS", "{}"))},
    worker_hijack_root_logger=False,
)


@app.task
def charge(amount: int) -> int:
    """One that works."""
    return amount * 2


@app.task
def refuse(card: str) -> None:
    """One that fails."""
    raise ValueError(f"card {card} refused")


@app.task(bind=True, max_retries=2, default_retry_delay=0.2)
def deliver(self: Task, address: str) -> str:
    """One that is often tried again."""
    if random.random() < 0.5:
        raise self.retry(exc=ConnectionError(address))
    return address


@app.task
def remind(customer: int) -> int:
    """One that is called off before its time."""
    return customer
