#!/bin/bash
# As the public image: guest may come from anywhere, and the default user may be named.
set -e
export RABBITMQ_CONFIG_FILE=/var/lib/rabbitmq/rabbitmq.conf RABBITMQ_NODENAME=rabbit@$(hostname)
{
    echo "loopback_users = none"
    [ -z "$RABBITMQ_DEFAULT_USER" ] || echo "default_user = $RABBITMQ_DEFAULT_USER"
    [ -z "$RABBITMQ_DEFAULT_PASS" ] || echo "default_pass = $RABBITMQ_DEFAULT_PASS"
} >"$RABBITMQ_CONFIG_FILE"
exec "$@"
