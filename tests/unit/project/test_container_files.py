"""The files of containers, as far as they can be judged without an engine; tests/compose runs them on one."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.config import loading
from celery_event_bridge.config.loading import COMPOSE, load
from celery_event_bridge.config.variables import all_variables
from celery_event_bridge.contract.container import IMAGE
from celery_event_bridge.process.limits import memory_limit, too_little
from celery_event_bridge.version import __version__
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_FILE = (ROOT / "docker-compose.yml").read_text()
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
OTHERS = {"BRIDGE_LINES_PATH", "BRIDGE_LINES_LONGEST"}
"""Settings of the sink that a page writes."""
MIB = 2**20


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """What Compose makes of the file, with some variables in the shell and a text as `.env`; needs no engine."""
    asked = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True)
    if not asked or asked.returncode:
        pytest.skip("no Docker Compose here")

    def config(dotenv: str = "", override: str = "", profile: str = "none", **shell: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("project")
        (folder / "docker-compose.yml").write_text(COMPOSE_FILE)
        (folder / "containers").symlink_to(ROOT / "containers")
        (folder / ".env").write_text(dotenv)
        (folder / "override.yml").write_text(override or "services: {}\n")
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("BRIDGE_", "COMPOSE_"))}
        command = ["docker", "compose", "-f", "docker-compose.yml", "-f", "override.yml"]
        done = subprocess.run(
            [*command, "--profile", profile, "config", "--format", "json"],
            cwd=folder,
            env=environment | shell,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    return config


def documented() -> set[str]:
    """Every variable that a page names, and those of the table."""
    found = {
        name for page in PAGES for name in re.findall(r"\bBRIDGE_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)", page.read_text())
    }
    return (found | set(all_variables())) - OTHERS


def test_the_compose_file_passes_every_setting_of_the_documents() -> None:
    """Each variable that a page names reaches the bridge from the shell: it is listed, or the file reads it."""
    listed = set(re.findall(r"^      - (BRIDGE_\w+)(?:=|$| )", COMPOSE_FILE, re.MULTILINE))
    read = set(re.findall(r"\$\{(BRIDGE_\w+)", COMPOSE_FILE))
    prefixes = {"BRIDGE_KAFKA", "BRIDGE_REDIS", "BRIDGE_BROKER_TLS", "BRIDGE_REDIS_TLS", "BRIDGE"}
    assert set() == documented() - listed - read - prefixes


def test_what_the_compose_file_reads_is_no_unknown_setting() -> None:
    """All of `.env` comes into the container, with what is for Compose alone."""
    read = set(re.findall(r"\$\{(BRIDGE_\w+)", COMPOSE_FILE)) - set(all_variables())
    assert read == set(COMPOSE)
    assert {} == load(dict.fromkeys(COMPOSE, "3")).unknown


def test_the_compose_files_defaults_give_way_to_files_of_secrets(tmp_path: Path) -> None:
    """A `_FILE` alone is enough: the addresses of the compose network lie below it, in a file of settings."""
    secret = tmp_path / "url"
    defaults = {"BRIDGE_CONFIG": str(ROOT / "containers/compose.toml")}
    assert "amqp://guest:guest@rabbitmq:5672//" == load(defaults).settings.broker_url
    assert ("kafka",) == load(defaults).settings.sink
    secret.write_text("amqp://user:word@elsewhere//\n")
    assert (
        "amqp://user:word@elsewhere//" == load(defaults | {"BRIDGE_BROKER_URL_FILE": str(secret)}).settings.broker_url
    )
    secret.write_text("redis://:word@elsewhere/0\n")
    given = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL_FILE": str(secret)}
    _, redis = load(defaults | given).sinks["redis"]
    assert "redis://:word@elsewhere/0" == redis.url  # type: ignore[attr-defined]


def test_compose_starts_the_servers_that_the_sink_needs(compose: Callable[..., dict[str, Any]]) -> None:
    """And no other; several, none, and a number of bridges that the next call has, too."""
    always = {"rabbitmq", "bridge"}
    assert always | {"kafka"} == compose()["services"].keys()
    assert always | {"redis"} == compose(BRIDGE_SINK="redis")["services"].keys()
    assert always == compose("BRIDGE_SINK=sqlite\n")["services"].keys()
    assert always | {"kafka", "redis"} == compose(BRIDGE_SINK="redis,kafka")["services"].keys()
    assert always == compose(BRIDGE_SINK="mine", BRIDGE_SERVERS="none")["services"].keys()
    sample = compose((ROOT / ".env.sample").read_text())["services"]
    assert (always | {"kafka"}, 3) == (sample.keys(), sample["bridge"]["deploy"]["replicas"])
    assert 3 == compose("BRIDGE_REPLICAS=3\n")["services"]["bridge"]["deploy"]["replicas"]


def test_compose_has_redis_as_the_broker(compose: Callable[..., dict[str, Any]]) -> None:
    """Its profiles depend on themselves alone, so that RabbitMQ and its bridges can be left out; the spool is kept."""
    found = compose(profile="redis-broker", RABBITMQ_REPLICAS="0", BRIDGE_REPLICAS="3", BRIDGE_SINK="redis")["services"]
    scales = {name: service["deploy"]["replicas"] for name, service in found.items() if service.get("deploy")}
    assert {"rabbitmq": 0, "bridge": 0, "redis-bridge": 3} == scales
    assert {"redis", "redis-broker"} == found.keys() - scales.keys()
    bridge = found["redis-bridge"]
    assert {"redis-broker": {"condition": "service_healthy", "required": True}} == bridge["depends_on"]
    environment = bridge["environment"]
    assert "redis://redis-broker:6379/0" == environment["BRIDGE_BROKER_URL"]
    ((volume, target),) = [(each["source"], each["target"]) for each in bridge["volumes"]]
    assert ("bridge", True) == (volume, environment["BRIDGE_SPOOL"].startswith(f"{target}/"))
    assert "redis-broker" in {each["source"] for each in found["redis-broker"]["volumes"]}
    assert found["redis-broker"]["healthcheck"]["test"] == found["redis"]["healthcheck"]["test"]
    # The rest is the other bridge's, to the letter.
    same = found["bridge"].keys() - {"profiles", "deploy", "environment", "depends_on"}
    assert {name: found["bridge"][name] for name in same} == {name: bridge[name] for name in same}
    assert found["bridge"]["environment"].keys() == environment.keys()
    for profile in ("redis-broker", "redis-demo"):
        services = compose(profile=profile)["services"]
        own = {name for name, service in services.items() if profile in service.get("profiles", ())}
        needed = {need for name in own for need in services[name].get("depends_on", ())}
        assert needed <= own, profile
        assert {"rabbitmq": 1, "bridge": 1, "redis-bridge": 2}.items() <= {
            name: service["deploy"]["replicas"] for name, service in services.items() if service.get("deploy")
        }.items()


def test_what_the_compose_file_asks_for_is_on_its_page() -> None:
    """Each variable that it reads and that is no setting of the bridge."""
    page = (ROOT / "docs/how-to/containers.md").read_text()
    files = [COMPOSE_FILE, *(file.read_text() for file in (ROOT / "containers/servers").glob("*.yml"))]
    read = {name for text in files for name in re.findall(r"\$\{(\w+)", text)} - set(all_variables())
    assert set() == {name for name in read if f"`{name}`" not in page}


def test_each_sink_has_a_file_of_its_servers() -> None:
    """Compose includes the one of the sink's name."""
    names = {file.stem for file in (ROOT / "containers/servers").glob("*.yml")}
    assert {*loading.plugins.OURS, "none", "kafka,redis", "redis,kafka"} == names


def test_compose_passes_settings_from_the_shell_and_from_the_file(compose: Callable[..., dict[str, Any]]) -> None:
    """Shell first; in single quotes a `$` is one; what is set nowhere has no value."""
    dotenv = (
        "BRIDGE_QUEUE=a\nBRIDGE_QUEUE_TTL=7\nBRIDGE_KAFKA_CLIENT_RACK=r1\nBRIDGE_BROKER_URL='amqp://u:p$$w$d@h//'\n"
    )
    found = compose(dotenv, BRIDGE_QUEUE="b", BRIDGE_KAFKA_SECURITY_PROTOCOL="SSL")["services"]["bridge"]["environment"]
    given = {name: text for name, text in found.items() if text is not None}
    assert {
        "BRIDGE_QUEUE": "b",
        "BRIDGE_QUEUE_TTL": "7",
        "BRIDGE_KAFKA_CLIENT_RACK": "r1",
        "BRIDGE_KAFKA_SECURITY_PROTOCOL": "SSL",
        "BRIDGE_BROKER_URL": "amqp://u:p$$$$w$$d@h//",  # so `config` writes a $, to be read again
        "BRIDGE_CONFIG": "/opt/bridge/compose.toml",
        "BRIDGE_HTTP": "0.0.0.0:9810",
    } == given


def test_the_override_for_a_secret_that_the_page_shows(compose: Callable[..., dict[str, Any]]) -> None:
    """It gives the bridge the file and no second address."""
    page = (ROOT / "docs/how-to/containers.md").read_text()
    (override,) = re.findall(r"```yaml\n(services:.*?)```", page, re.DOTALL)
    bridge = compose(override=override)["services"]["bridge"]
    assert "/run/secrets/broker-url" == bridge["environment"]["BRIDGE_BROKER_URL_FILE"]
    assert bridge["environment"]["BRIDGE_BROKER_URL"] is None
    assert ["broker-url"] == [each["source"] for each in bridge["secrets"]]


def test_the_image_is_described_and_its_base_is_pinned() -> None:
    """Labels with this version; each stage from one base, by its digest; no volume of the image's own."""
    assert f"\nARG VERSION={__version__}\n" in DOCKERFILE
    labels = set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", DOCKERFILE))
    assert {"title", "description", "licenses", "version", "revision", "base.name"} <= labels
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:[\w.-]+@sha256:[0-9a-f]{64}", base)
    assert {"${PYTHON_IMAGE}"} == set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert not re.search(r"^VOLUME", DOCKERFILE, re.MULTILINE)


def test_what_the_image_is_made_of_is_in_the_build_context() -> None:
    """Each source of a COPY is there, and let through by .dockerignore."""
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(rule) or source.startswith(f"{rule}/") for rule in let_through), source
    assert os.access(ROOT / "containers/bridge-health", os.X_OK)


def test_no_message_leads_to_a_page_that_an_image_has_not() -> None:
    """A text that is shown names a command, and no file of the repository: who has the image alone has none."""
    product = [file for folder in ("bridge", "sinks") for file in (ROOT / folder).rglob("*.py")]
    assert [] == [(file.name, text) for file in product for text in shown(file) if re.search(r"\bdocs/[a-z]", text)]


def test_sqlite_in_the_image_needs_a_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the container was started with is gone with it; a mount, and any place outside of the image, is not."""
    own, mounted = Path("/celery-events.db"), Path("/dev/shm/none/celery-events.db")
    assert "" == SqliteSink(SqliteSettings(path=own)).refusal()
    monkeypatch.setenv(IMAGE, "1")
    assert f"ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 BRIDGE_HTTP=0.0.0.0:9810 {IMAGE}=1" in DOCKERFILE
    text = SqliteSink(SqliteSettings(path=own)).refusal()
    assert text.startswith("BRIDGE_SQLITE_PATH=/celery-events.db: this is no volume")
    assert "--volume bridge:/ " in text
    assert "" == SqliteSink(SqliteSettings(path=mounted)).refusal()
    (tmp_path / "link").symlink_to("/dev/shm")
    assert "" == SqliteSink(SqliteSettings(path=tmp_path / "link/events.db")).refusal()


def shown(file: Path) -> Iterator[str]:
    """The texts of a module that may be shown: all but docstrings, and those of commands, which are their help."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    internal = set()
    for node in nodes:
        command = isinstance(node, ast.FunctionDef) and node.decorator_list
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and not command:
            internal |= {id(each.value) for each in node.body if isinstance(each, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in internal:
            yield node.value


def system(root: Path, groups: str, **limits: str) -> Path:
    """A system with these control groups; a limit's name is its path with `__` for `/`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in limits.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("DOT", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("groups", "limits", "found"),
    [
        ("0::/\n", {"memoryDOTmax": str(64 * MIB)}, 64),
        ("0::/\n", {"memoryDOTmax": "max"}, None),
        ("0::/a/b\n", {"a__b__memoryDOTmax": "max", "a__memoryDOTmax": str(96 * MIB)}, 96),
        ("5:memory:/docker/0123\n", {"memory__memoryDOTlimit_in_bytes": str(32 * MIB)}, 32),
        ("4:cpu,memory:/\n", {"memory__memoryDOTlimit_in_bytes": str(2**63 - 4096)}, None),
        ("1:cpu:/\n", {}, None),
        ("", {}, None),
    ],
)
def test_the_limit_of_a_container_is_found(
    tmp_path: Path, groups: str, limits: dict[str, str], found: int | None
) -> None:
    """Of both versions of control groups, the least of all above; no limit is none."""
    assert (found and found * MIB) == memory_limit(system(tmp_path, groups, **limits))


def test_too_little_memory_is_said(tmp_path: Path) -> None:
    """With both numbers and the ways out; the compose file's own limit is enough for the default."""
    small = system(tmp_path / "small", "0::/\n", memoryDOTmax=str(64 * MIB))
    text = too_little(16 * MIB, small)
    assert "is 64 MiB" in text
    assert "may need 112 MiB" in text
    (limit,) = re.findall(r"BRIDGE_MEMORY:-(\d+)m", COMPOSE_FILE)
    enough = system(tmp_path / "enough", "0::/\n", memoryDOTmax=str(int(limit) * MIB))
    assert "" == too_little(16 * MIB, enough)
    assert "" == too_little(16 * MIB, tmp_path / "none")
    assert tomllib.loads((ROOT / "containers/compose.toml").read_text()).keys() >= {"broker_url", "sink"}
