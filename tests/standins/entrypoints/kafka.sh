#!/bin/bash
# As the public image: KAFKA_X_Y is the server's property x.y; without any, one node that serves localhost.
set -e
properties=/tmp/server.properties
{
    echo "log.dirs=/tmp/kraft-combined-logs"
    if ! env | grep -q ^KAFKA_PROCESS_ROLES=; then
        cat <<'DEFAULTS'
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://localhost:9092
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
DEFAULTS
    fi
    # Later lines win.
    env | grep ^KAFKA_ | grep -v ^KAFKA_HEAP_OPTS= | while IFS='=' read -r name value; do
        name=$(echo "${name#KAFKA_}" | tr 'A-Z' 'a-z' | sed 's/___/-/g; s/__/\x01/g; s/_/./g; s/\x01/_/g')
        echo "$name=$value"
    done
} >"$properties"
run() { java ${KAFKA_HEAP_OPTS:--Xmx512m} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' "$@"; }
run kafka.tools.StorageTool format --ignore-formatted -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c "$properties"
exec java ${KAFKA_HEAP_OPTS:--Xmx512m} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' \
    kafka.Kafka "$properties"
