# Everything goes on in .venv, which the first target that needs it makes; the demo alone in .venv-demo, which is smaller.
# `make` alone lists the targets.
PYTHON ?= python3
BROKER ?= rabbitmq
SINK ?= sqlite
TESTS ?= tests/unit tests/simulation tests/integration
WORLD ?= all
SECONDS ?= 60
RUNS ?= 5
JOBS ?= 5
# A test's time-out is a signal; what no signal reaches shows where it stands. A process that dies ends the run: what
# pytest-xdist hands out after that can leave the others waiting for ever.
SIDE_BY_SIDE = -n $(JOBS) --dist loadfile --max-worker-restart 0 -o faulthandler_timeout=450
STREAMS := redis,kafka,sqlite
READY := .venv/.ready
BIN := .venv/bin
DEMO := $(if $(wildcard $(READY)),.venv,.venv-demo)
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
# Where it is set, as in images of Python, each process compiles anew all that it imports: half as long again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup wheel test endurance pages simulate faults faults-all faults-redis-broker soak matrix mutations bench bench-readers bench-short containers unit lint format demo lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements/dev.txt pyproject.toml scripts/setup.sh
	@PYTHON='$(PYTHON)' scripts/setup.sh .venv

# All that the demo needs, where nothing for tests and checks is there yet.
.venv-demo/.ready: requirements/try.txt pyproject.toml scripts/setup.sh
	@PYTHON='$(PYTHON)' scripts/setup.sh .venv-demo try

setup: $(READY)  ## make .venv with all that is needed

# By what an image is built with, and in an environment of its own: nobody needs the linters for it.
wheel:  ## make the wheel, in dist/
	@$(PYTHON) -m venv build/wheel
	@build/wheel/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/build.txt
	@build/wheel/bin/python -m hatchling build -t wheel -d dist

demo: $(DEMO)/.ready  ## watch it lose nothing: make demo BROKER=redis SINK=kafka
	@$(DEMO)/bin/python -m examples.demo --broker $(BROKER) --sink $(SINK)

test: $(READY)  ## all tests, against real servers: make test TESTS=tests/unit JOBS=1
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations=10 $(TESTS)

endurance: $(READY)  ## the fault tests at full length, about 15 minutes
	@FULL=1 $(BIN)/python -m pytest -s -m fault tests --deselect tests/integration/faults/test_faults.py::test_a_fault

pages: $(READY)  ## type every shell block of the documents, on real servers, about 10 minutes
	@FULL=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(wildcard tests/integration/documents/test_pages*.py)

faults: $(READY)  ## faults at random: make faults SECONDS=600 SEED=1 SINK=redis
	@$(BIN)/python -m tests.faults --seconds $(SECONDS) --sink $(SINK) $(if $(SEED),--seed $(SEED))

faults-redis-broker: $(READY)  ## bridges of a Redis broker killed, frozen, cut off: make faults-redis-broker SECONDS=600 SINK=kafka
	@$(BIN)/python -m tests.faults.redis_campaign --seconds $(SECONDS) --sink $(SINK) $(if $(SEED),--seed $(SEED))

simulate: $(READY)  ## faults in simulated worlds: make simulate SECONDS=60 SEED=1 WORLD=contract PLAYS=1
	@$(BIN)/python -m tests.simulation --seconds $(SECONDS) --world $(WORLD) $(if $(SEED),--seed $(SEED)) $(if $(PLAYS),--plays $(PLAYS))

faults-all: $(READY)  ## each fault by name, over each sink, about half an hour
	@FULL=1 $(BIN)/python -m pytest -s tests/integration/faults/test_faults.py

soak: $(READY)  ## traffic and faults for long, with the memory of each process: make soak SECONDS=1800
	@$(BIN)/python -m tests.faults.soak --seconds $(SECONDS) --sink $(SINK) $(if $(SEED),--seed $(SEED))

matrix: $(READY)  ## every version of every end, about 25 minutes: make matrix ONLY=Redis
	@$(BIN)/python -m tests.matrix --only '$(ONLY)'

bench: $(READY)  ## what it costs beside others, about 12 minutes: make bench ONLY=redis RUNS=3
	@$(BIN)/python -m benchmarks run --only '$(ONLY)' --runs $(RUNS)

bench-readers: $(READY)  ## what reading back costs, over 5 million events a reader
	@$(BIN)/python -m benchmarks readers --only '$(or $(ONLY),$(STREAMS))'

bench-short: $(READY)  ## only whether the benchmarks run, about half a minute
	@$(BIN)/python -m benchmarks run --short --only '$(ONLY)' --output build/benchmarks-short.json

mutations: $(READY)  ## break each guard on purpose, in a copy, and see who notices, about an hour
	@$(BIN)/python -m tests.broken --campaigns

containers: $(READY)  ## the image, the compose file and the servers in containers (needs a Docker engine)
	@FULL=1 $(BIN)/python -m pytest -s tests/integration/running/test_containers.py
	@CI=true CONTAINERS=1 $(BIN)/python -m pytest -s tests/compose tests/integration/project/test_servers.py

# Each process takes as long to begin as the tests of ten files.
unit: JOBS = 3
unit: $(READY)  ## the tests that need no server, in seconds
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) tests/unit

lint: $(READY)  ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(READY)  ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY)  ## pin the newest versions in requirements/*.txt (needs uv)
	@$(COMPILE) pyproject.toml requirements/dev.in --extra all --upgrade --output-file requirements/dev.txt
	@$(COMPILE) pyproject.toml --extra all --constraints requirements/dev.txt --output-file requirements/run.txt
	@$(COMPILE) requirements/build.in --constraints requirements/dev.txt --output-file requirements/build.txt
	@$(COMPILE) requirements/demo.in --constraints requirements/dev.txt --output-file requirements/demo.txt
	@$(COMPILE) pyproject.toml requirements/try.in --extra all --constraints requirements/dev.txt --output-file requirements/try.txt
	@$(COMPILE) requirements/bench.in --constraints requirements/dev.txt --output-file requirements/bench.txt

clean:  ## remove .venv and all caches
	@rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
