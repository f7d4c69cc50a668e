#!/usr/bin/env bash
# Builds stand-ins for the public images of our compose file and tests, where no image registry can be reached: from
# Debian's packages, and Kafka from Maven's. Under the public names, so that what is tested is the compose file as it is.
# Usage, as root, with a Docker engine, debootstrap and Maven: tests/standins/build.sh
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! docker image inspect local/trixie >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=ca-certificates trixie "$work/root" >"$work/log" 2>&1 ||
        { tail -n 5 "$work/log" >&2; exit 1; }
    # What this machine trusts, for a package index behind a proxy of its own.
    cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
    tar -C "$work/root" -c . | docker import - local/trixie
fi

# build NAME... < Dockerfile: the first name is the one that is looked for.
build() {
    local names=()
    for name in "$@"; do names+=(--tag "$name"); done
    docker image inspect "$1" >/dev/null 2>&1 ||
        docker build --quiet --network host "${names[@]}" --file - "$work/context"
}

mkdir -p "$work/context"
cp entrypoints/* /etc/ssl/certs/ca-certificates.crt "$work/context/"

build python:3.13-slim-trixie <<'DOCKERFILE'
FROM local/trixie
RUN apt-get update -q && apt-get install -qy --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/* && ln -s /usr/bin/python3 /usr/local/bin/python
COPY ca-certificates.crt /etc/ssl/certs/
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
DOCKERFILE

build redis:8 <<'DOCKERFILE'
FROM local/trixie
RUN apt-get update -q && apt-get install -qy --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 redis.sh /entrypoint.sh
WORKDIR /data
VOLUME /data
EXPOSE 6379
ENTRYPOINT ["/entrypoint.sh"]
CMD ["redis-server"]
DOCKERFILE

build rabbitmq:4 <<'DOCKERFILE'
FROM local/trixie
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
    && apt-get update -q && apt-get install -qy --no-install-recommends rabbitmq-server && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 rabbitmq.sh /entrypoint.sh
ENV RABBITMQ_LOGS=- PATH=/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/rabbitmq LC_ALL=C.UTF-8
USER rabbitmq
VOLUME /var/lib/rabbitmq
EXPOSE 5672
ENTRYPOINT ["/entrypoint.sh"]
CMD ["rabbitmq-server"]
DOCKERFILE

if ! docker image inspect apache/kafka:4.1.0 >/dev/null 2>&1; then
    cat >"$work/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.1.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
POM
    mvn -B -q -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$work/context/libs"
    build apache/kafka:4.1.0 <<'DOCKERFILE'
FROM local/trixie
RUN apt-get update -q && apt-get install -qy --no-install-recommends openjdk-21-jre-headless \
    && rm -rf /var/lib/apt/lists/* && useradd --uid 1000 appuser && mkdir -p /var/lib/kafka/data \
    && chown appuser /var/lib/kafka/data
COPY libs /opt/kafka/libs
COPY --chmod=755 kafka.sh /entrypoint.sh
COPY --chmod=755 kafka-topics.sh /opt/kafka/bin/
USER appuser
EXPOSE 9092
ENTRYPOINT ["/entrypoint.sh"]
DOCKERFILE
fi
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep -E '^(python|redis|rabbitmq|apache/kafka):'
