"""The settings of the sink and the reader of SQLite: `BRIDGE_SQLITE_*`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from celery_event_bridge.contract.values import OptionalRetention

_URL = re.compile(r"://|^\s*(?:amqps?|rediss?|kafka|sqlite|https?)(?::/|//)", re.IGNORECASE)


class SqliteSettings(BaseModel):
    """`BRIDGE_SQLITE_*`."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)
    names_stream: ClassVar = ("path",)

    path: Path = Field(Path("celery-events.db"), description="the file; made if it is not there")
    """Absolute once it is read, so that what is shown says where it is."""
    retention: OptionalRetention = Field(
        None, gt=0, description="never, or 30d: older events are removed", json_schema_extra={"unset": "never"}
    )

    @field_validator("path", mode="before")
    @classmethod
    def _no_url(cls, value: object) -> object:
        if isinstance(value, str) and _URL.search(value):
            raise ValueError("expected a path, not a URL")
        return value

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.absolute()
