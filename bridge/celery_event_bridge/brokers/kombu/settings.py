"""Settings of a broker that is reached through kombu: its own beside those that every broker is given."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

from pydantic import model_validator

from celery_event_bridge.brokers.celery_options import refuse_unknown_in_url
from celery_event_bridge.brokers.common_settings import CommonSettings
from celery_event_bridge.config.plugins import lacking
from celery_event_bridge.contract.broker_plugin import scheme_of
from celery_event_bridge.contract.values import is_one_line

FILESYSTEM = frozenset({"filesystem"})
MEMORY = frozenset({"memory"})
MONGODB = frozenset({"mongodb", "mongodb+srv"})
FOLDERS = ("data_folder_in", "data_folder_out", "control_folder")
"""Celery's options that name the folders of the transport `filesystem`, with kombu's defaults in the same order."""
DEFAULTS = ("data_in", "data_out", "control")
_IN_A_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class Settings(CommonSettings):
    """Field `queue` is `BRIDGE_QUEUE` and `--queue`."""

    groups: ClassVar = {
        "Broker": ("broker_transport_options", "event_exchange"),
        "Queues": ("queue", "rejected_max_bytes"),
    }

    @model_validator(mode="after")
    def _what_goes_together(self) -> Settings:
        if len(self.broker_urls) > 1:
            raise ValueError("BRIDGE_BROKER_URL: expected one URL; the hosts of a MongoDB have commas between them")
        if not is_one_line(self.broker_url):
            raise ValueError("BRIDGE_BROKER_URL: expected one line without tabs: in a password they are %0A and %09")
        if self.scheme in MONGODB and importlib.util.find_spec("pymongo") is None:
            raise ValueError(f"BRIDGE_BROKER_URL: {lacking(self.scheme, 'pymongo')}")
        if self.scheme in FILESYSTEM | MEMORY:  # a MongoDB's URL has its client's options
            self._judge_query()
        if self.scheme in FILESYSTEM:
            self._judge_folders()
        return self

    def _judge_query(self) -> None:
        try:
            refuse_unknown_in_url(parse_qs(self.broker_url.partition("?")[2], keep_blank_values=True))
        except ValueError as exc:
            raise ValueError(f"BRIDGE_BROKER_URL: {exc}") from None

    def _judge_folders(self) -> None:
        options = self.broker_transport_options
        wrong = [name for name in FOLDERS if not isinstance(options.get(name, ""), str)]
        if wrong or not options.get("data_folder_in"):
            raise ValueError(
                f"BRIDGE_BROKER_TRANSPORT_OPTIONS: filesystem:// needs {wrong[0] if wrong else 'data_folder_in'}, a "
                'path, and the other folders of Celery\'s broker_transport_options: {"data_folder_in": "/var/spool/'
                'celery", "data_folder_out": "/var/spool/celery", "control_folder": "/var/spool/celery/control"}'
            )
        for name, value in (("BRIDGE_QUEUE", self.queue), ("BRIDGE_EVENT_EXCHANGE", self.event_exchange)):
            if not _IN_A_FILE_NAME.fullmatch(value):
                raise ValueError(f"{name}: expected letters, digits, ., _ and - alone, as files are named by it")

    @property
    def scheme(self) -> str:
        """The scheme of the broker's URL."""
        return scheme_of(self.broker_url)

    @property
    def rejected(self) -> str:
        """The queue of what can never be forwarded."""
        return f"{self.queue}.rejected"

    @property
    def folder_in(self) -> Path:
        """The folder that messages are received from: the one that Celery's workers write their events into."""
        return Path(self.broker_transport_options.get(FOLDERS[0], DEFAULTS[0])).absolute()

    @property
    def control_folder(self) -> Path:
        """The folder with the bindings."""
        return Path(self.broker_transport_options.get(FOLDERS[2], DEFAULTS[2])).absolute()
