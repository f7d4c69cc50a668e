"""What a user of Kafka may do, for servers that ask."""

from __future__ import annotations

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.support.servers.kafka import admin


def allow(
    bootstrap: str, user: str, topic: str, *operations: AclOperation, of: ResourceType = ResourceType.TOPIC
) -> None:
    """Give a user rights to a topic, or to a group of that name."""
    client = admin(bootstrap)
    for operation in operations:
        acl = AclBinding(
            *(of, topic, ResourcePatternType.LITERAL),
            *(f"User:{user}", "*", operation, AclPermissionType.ALLOW),
        )
        for future in client.create_acls([acl]).values():
            future.result(60)


def deny_all(bootstrap: str, topic: str) -> None:
    """Take all rights to a topic away from everybody."""
    everything = AclBindingFilter(
        *(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL),
        *(None, None, AclOperation.ANY, AclPermissionType.ANY),
    )
    client = admin(bootstrap)
    for future in client.delete_acls([everything]).values():
        future.result(60)
