"""`kafka-topics.sh` and `kafka-acls.sh`, as far as the pages use them: Kafka's own are not among the jars of the tests.

Started as a script: the tool's name, then what is typed. An option that it does not know ends it.
"""

from __future__ import annotations

import argparse
import sys

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

OPERATIONS = {operation.name.replace("_", "").lower(): operation for operation in AclOperation}


def topics(client: AdminClient, typed: argparse.Namespace) -> None:
    config = dict(pair.split("=", 1) for pair in typed.config or ())
    new = NewTopic(typed.topic, typed.partitions, typed.replication_factor, config=config)
    client.create_topics([new])[typed.topic].result(60)


def acls(client: AdminClient, typed: argparse.Namespace) -> None:
    kind, name = (ResourceType.GROUP, typed.group) if typed.group else (ResourceType.TOPIC, typed.topic)
    for operation in typed.operation:
        binding = AclBinding(
            *(kind, name, ResourcePatternType.LITERAL, typed.allow_principal, "*"),
            *(OPERATIONS[operation.lower()], AclPermissionType.ALLOW),
        )
        for future in client.create_acls([binding]).values():
            future.result(60)


if __name__ == "__main__":
    tool, *rest = sys.argv[1:]
    parser = argparse.ArgumentParser(tool, allow_abbrev=False)
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--topic")
    if tool == "kafka-topics.sh":
        parser.add_argument("--create", action="store_true", required=True)
        parser.add_argument("--partitions", type=int)
        parser.add_argument("--replication-factor", type=int)
        parser.add_argument("--config", action="append")
    else:
        parser.add_argument("--add", action="store_true", required=True)
        parser.add_argument("--allow-principal", required=True)
        parser.add_argument("--group")
        parser.add_argument("--operation", action="append", required=True)
    arguments = parser.parse_args(rest)
    admin = AdminClient({"bootstrap.servers": arguments.bootstrap_server})
    (topics if tool == "kafka-topics.sh" else acls)(admin, arguments)
