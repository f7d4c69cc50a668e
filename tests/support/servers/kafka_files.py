"""Apache Kafka's own files, fetched once by Maven and kept in the user's cache directory."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers.debian import ServerMissing, program
from tests.support.servers.fetching import megabytes_in, telling

POM = Path(__file__).with_name("kafka.xml")
VERSION = re.findall(r"kafka_2.13</artifactId>\s*<version>([\d.]+)</version>", POM.read_text())[0]
SIZE = 43
"""Megabytes."""
HEAP = "-Xmx384m"
LOGGING = [
    f"-Dorg.slf4j.simpleLogger.{name}"
    for name in ("defaultLogLevel=warn", "showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS")
]


def java(version: str = VERSION) -> Sequence[str]:
    """A command that runs a Kafka class, named after it. Raises ServerMissing."""
    # Short-lived, many, on few cores: the quick compiler and the plain collector.
    options = (HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return [_java(), *options, *LOGGING, "-cp", f"{libraries(version)}/*"]


def archive(version: str) -> Path:
    """Where the classes are kept that a node has loaded: the next one maps them, and starts in half the time."""
    jvm = Path(_java()).resolve().parents[1].name  # no other could read it
    return cache() / f"kafka-{version}-{jvm}.jsa"


def libraries(version: str) -> Path:
    """The folder with Kafka's jars. Raises ServerMissing."""
    folder = cache() / f"kafka-{version}"
    if not folder.exists():
        _fetch(folder, version)
    return folder


def cache() -> Path:
    """Where this user's caches go, ours among them."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "celery-event-bridge"


def _java() -> str:
    try:
        return program("java", "default-jre-headless")
    except ServerMissing as exc:
        raise ServerMissing(f"Kafka needs a Docker engine, or Java 17: {exc}") from exc


def _fetch(folder: Path, version: str) -> None:
    try:
        maven = program("mvn", "maven")
    except ServerMissing as exc:
        raise ServerMissing(f"Kafka needs a Docker engine, or Maven to fetch it: {exc}") from exc
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Moved there in one step, so that what is there is whole.
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        (Path(name) / "pom.xml").write_text(POM.read_text().replace(f"<version>{VERSION}<", f"<version>{version}<"))
        command = [
            maven,
            "-B",
            "-q",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=jars",
        ]
        what = f"fetching Apache Kafka {version} by Maven, {SIZE} MB"
        telling(what, command, megabytes_in(Path(name) / "jars", SIZE), cwd=name)
        try:
            (Path(name) / "jars").rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
