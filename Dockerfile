# Stage 1: an environment with the bridge, every dependency by its hash. No tool for building reaches the image.
FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv /build && python -m venv --without-pip /opt/bridge
WORKDIR /source
COPY requirements/build.txt requirements/run.txt requirements/
RUN /build/bin/pip install --quiet --require-hashes -r requirements/build.txt \
    && /build/bin/pip --python /opt/bridge/bin/python install --quiet --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
COPY sinks sinks
RUN /build/bin/python -m hatchling build -t wheel \
    && /build/bin/pip --python /opt/bridge/bin/python install --quiet --no-deps dist/*.whl

# The Celery side of the compose file's demo: not a part of the image, which is the last stage.
FROM python:3.13-slim-trixie AS demo
WORKDIR /demo
COPY requirements/demo.txt requirements/
RUN python -m venv /opt/demo && /opt/demo/bin/pip install --quiet --no-cache-dir --require-hashes -r requirements/demo.txt
COPY examples/__init__.py examples/
COPY examples/demo/__init__.py examples/demo/tasks.py examples/demo/sender.py examples/demo/
ENV PATH=/opt/demo/bin:$PATH PYTHONUNBUFFERED=1
USER 65534:65534

FROM python:3.13-slim-trixie
# An init: until Python has run our first line, process 1 would ignore a signal.
RUN apt-get update -q && apt-get install -qy --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/bridge /opt/bridge
# The SQLite file's place, the only one that is written: mount a volume here. It takes over the owner.
RUN mkdir /data && chown 10001:10001 /data
WORKDIR /data
VOLUME /data
USER 10001:10001
ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 BRIDGE_HTTP=0.0.0.0:9810
EXPOSE 9810
# Liveness and not readiness: an outage of the broker or the stream is no reason to replace a replica.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s --retries=3 CMD ["python", "-ISc", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ['BRIDGE_HTTP'].rpartition(':')[2] + '/livez', timeout=4)"]
ENTRYPOINT ["tini", "-s", "--", "celery-event-bridge"]
CMD ["run"]
