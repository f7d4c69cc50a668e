# The base of all stages, by its digest, which names one image for each architecture. Another: --build-arg PYTHON_IMAGE=...
ARG PYTHON_IMAGE=python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

# Stage 1: an environment with the bridge, every dependency by its hash. No tool for building reaches the image.
FROM ${PYTHON_IMAGE} AS build
# One time for every file, and no order that changes from build to build: the same sources make the same layers.
ARG SOURCE_DATE_EPOCH=1767225600
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
# An init: until Python has run our first line, process 1 would ignore a signal.
RUN apt-get update -q && apt-get install -qy --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
RUN python -m venv /build && python -m venv --without-pip /opt/bridge
WORKDIR /source
COPY requirements/build.txt requirements/run.txt requirements/
RUN /build/bin/pip install --quiet --require-hashes -r requirements/build.txt \
    && /build/bin/pip --python /opt/bridge/bin/python install --quiet --no-compile --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
COPY sinks sinks
RUN /build/bin/python -m hatchling build -t wheel \
    && /build/bin/pip --python /opt/bridge/bin/python install --quiet --no-compile --no-deps dist/*.whl
COPY containers/bridge-health /opt/bridge/bin/
COPY containers/compose.toml /opt/bridge/
RUN cp /usr/bin/tini-static /opt/bridge/bin/tini && chmod 755 /opt/bridge/bin/bridge-health \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/bridge/lib \
    && find /opt/bridge -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

# The Celery side of the compose file's demo: not a part of the image, which is the last stage.
FROM ${PYTHON_IMAGE} AS demo
WORKDIR /demo
COPY requirements/demo.txt requirements/
RUN python -m venv /opt/demo && /opt/demo/bin/pip install --quiet --no-cache-dir --require-hashes -r requirements/demo.txt
COPY examples/__init__.py examples/
COPY examples/demo/__init__.py examples/demo/tasks.py examples/demo/sender.py examples/demo/
ENV PATH=/opt/demo/bin:$PATH PYTHONUNBUFFERED=1
USER 65534:65534

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="celery-event-bridge" \
    org.opencontainers.image.description="Celery's events, off the broker and into Kafka, Redis Streams or SQLite" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /opt/bridge /opt/bridge
# The SQLite file's place, for a volume, which takes over owner and rights: any user of group 0 may write, as a platform
# needs that gives each container a user of its own. No VOLUME: an unnamed one would be thrown away with the container.
ARG SOURCE_DATE_EPOCH=1767225600
RUN mkdir /data && chown 10001:0 /data && chmod 775 /data && touch --date "@$SOURCE_DATE_EPOCH" /data
WORKDIR /data
USER 10001:0
# By the last of these the bridge knows that whatever is not on a volume is gone with the container.
ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 BRIDGE_HTTP=0.0.0.0:9810 CELERY_EVENT_BRIDGE_IMAGE=1
EXPOSE 9810
# Healthy once it has stored or could store, and from then on while its loop turns: an outage of the broker or the stream
# is no reason to replace a replica. `bridge-health ready` says whether it is ready now.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["bridge-health"]
ENTRYPOINT ["tini", "-s", "--", "celery-event-bridge"]
CMD ["run"]
