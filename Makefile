# The same few commands everywhere; CI calls these and nothing else.
PYTHON := .venv/bin/python
SEED ?= 0
MODEL ?= tiny

.PHONY: help demo picture test test-slow test-faults test-demo minio live lm-eval-table gpu-packages benchmark-gpu check format lock \
        image test-docker test-cluster compile docs clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# uv is taken from PATH, or installed into an environment of its own.
UV := $(or $(shell command -v uv),.cache/uv/bin/uv)
UV_VERSION := 0.13.9

.cache/uv/bin/uv:
	python3 -m venv .cache/uv
	.cache/uv/bin/pip install --quiet uv==$(UV_VERSION)

.venv/ready: requirements.lock pyproject.toml | $(UV)
	@echo "setting up .venv (5.5 GB, torch among it) ..."
	$(UV) venv --quiet --allow-existing --python 3.11 .venv
	$(UV) pip sync --quiet --python $(PYTHON) --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/ready ## run the whole pipeline on the CPU with the recipe MODEL, tiny or smollm2-135m
	$(PYTHON) pipeline.py run --recipe $(MODEL) --set seed=$(SEED) --output out/$(if $(filter tiny,$(MODEL)),demo,$(MODEL))

# Processes of one thread each; tests/session.py puts the longest files first.
PROCESSES = 2
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
HERE = not gpu and not docker and not cluster and not release

picture: .venv/ready ## draw docs/demo.svg from the demo's run
	$(PYTHON) -m components.lib.reporting.picture out/demo/results/results.json docs/demo.svg

test: .venv/ready ## run the tests that take minutes, not hours
	$(PYTEST) -m "not slow and not fault and $(HERE)"

test-slow: .venv/ready ## run the slow tests, the demo's learning among them
	$(PYTEST) -m "slow and not fault and $(HERE)"

test-faults: PROCESSES = 3 # a third of the time they wait for something to end
test-faults: .venv/ready ## provoke what goes wrong, and print what was seen and lost
	$(PYTEST) -m "fault and $(HERE)"

test-demo: .venv/ready ## let the demo learn with two more seeds, before a release
	$(PYTEST) -m release

# MinIO's project publishes source since October 2025, which Go builds; the binary is its last one, and this way of
# getting it has not been tried.
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
MINIO_BINARY := https://dl.min.io/server/minio/release/linux-amd64/archive/minio.RELEASE.2025-09-07T16-13-09Z

minio: .cache/minio/minio ## get the MinIO server that the tests of S3 start, some minutes with Go
.cache/minio/minio:
	mkdir -p $(@D)
	if command -v go > /dev/null; then GOBIN=$(abspath $(@D)) go install github.com/minio/minio@$(MINIO_VERSION); \
	else curl --fail --location --silent --show-error --output $@.part $(MINIO_BINARY) \
	  && echo "$$(curl --fail --silent --show-error $(MINIO_BINARY).sha256sum | cut -d ' ' -f 1)  $@.part" | sha256sum -c \
	  && chmod +x $@.part && mv $@.part $@; fi

# Apart, since TRL imports both trackers in every process in whose environment they are.
live: .cache/live/ready ## get W&B and trackio, for the tests of live metrics
.cache/live/ready: tests/live.lock | .venv/ready
	rm -rf $(@D)
	$(UV) pip install --quiet --python $(PYTHON) --target $(@D) --no-deps --require-hashes --compile-bytecode --requirement tests/live.lock
	@touch $@

LM_EVAL := 0.4.13

lm-eval-table: | $(UV) ## write anew what lm-eval says of the cases of tests/lib/answers
	$(UV) venv --quiet --allow-existing --python 3.11 .cache/lm-eval
	$(UV) pip install --quiet --python .cache/lm-eval/bin/python lm-eval==$(LM_EVAL) 'math-verify[antlr4_11_0]==0.9.0'
	.cache/lm-eval/bin/python tests/lib/answers/lm_eval_table.py
	.cache/lm-eval/bin/python tests/lib/answers/lm_eval_math_table.py

gpu-packages: | $(UV) ## fetch what benchmark-gpu needs on a machine with torch and little else, into build/gpu
	python3 -m benchmarks.gpu.packages --uv $(UV)

# That machine has a Python of its own: `make benchmark-gpu PYTHON=python3`.
benchmark-gpu: ## measure the main job on this GPU, in 8 minutes
	$(PYTHON) -m benchmarks.gpu --output out/gpu.md

check: .venv/ready ## lint, types, formatting, and which module may import which
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-logo

format: .venv/ready ## format the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

LOCK = $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml
# What the trackers need beyond the environment, so that they can lie beside it and hide nothing of it.
LIVE_LOCK = $(LOCK) --no-annotate $$(sed -nE 's/^([a-z0-9._-]+)==.*/--no-emit-package \1/p' requirements.lock)
# In the images a step needs KFP's executor, not its compiler nor its client; causal-conv1d's compiler is the builder
# stage's alone.
IMAGE_LOCK = $(LOCK) --no-annotate $(addprefix --no-emit-package ,kfp-kubernetes kfp-server-api causal-conv1d nvidia-cuda-nvcc)

lock: | $(UV) ## resolve the dependencies anew, with hashes
	$(LOCK) --extra train --extra teach --extra convert --extra dev --output-file requirements.lock
	$(LIVE_LOCK) --extra live --constraint requirements.lock --output-file tests/live.lock
	$(IMAGE_LOCK) --extra train --extra live --extra gpu --output-file images/gpu.lock
	$(IMAGE_LOCK) --extra train --extra live --constraint images/gpu.lock --output-file images/trainer.lock
	$(IMAGE_LOCK) --constraint images/trainer.lock --output-file images/data.lock
	$(subst pyproject.toml,images/trainer/builder.in,$(LOCK)) --no-annotate --no-deps --output-file images/builder.lock

REGISTRY ?= grpo-pipeline
describe = $(shell git describe --always --dirty --exclude '*' --abbrev=$(1))
TAG ?= $(call describe,12)
COMMIT = $(call describe,40)
# One such tag would stand for whatever files have changed since.
REFUSE_DIRTY = $(if $(and $(filter file,$(origin TAG)),$(filter %-dirty,$(TAG))),$(error tag $(TAG) names no commit: commit the changes, or give TAG=NAME))
BASE ?= python:3.11-slim
TRAINER ?= full
DOCKER ?= docker
BUILD = DOCKER_BUILDKIT=1 $(DOCKER) build --build-arg BASE=$(BASE) --build-arg COMMIT=$(COMMIT) .

image: ## build the images of the steps (REGISTRY, TAG, BASE, TRAINER=slim or full)
	$(REFUSE_DIRTY)
	$(BUILD) --file images/data/Dockerfile --tag $(REGISTRY)/data:$(TAG)
	$(BUILD) --file images/trainer/Dockerfile --target $(TRAINER) --tag $(REGISTRY)/trainer:$(TAG)
	@echo export GRPO_IMAGE_PREFIX=$(REGISTRY) GRPO_IMAGE_TAG=$(TAG)

test-docker: .venv/ready ## run the tiny pipeline in containers; needs `make image TRAINER=slim`
	OMP_NUM_THREADS=1 GRPO_IMAGE_PREFIX=$(REGISTRY) GRPO_IMAGE_TAG=$(TAG) $(PYTHON) -m pytest -m docker

test-cluster: .venv/ready ## run the tests against KUBECONFIG, KF_PIPELINES_ENDPOINT and S3_ENDPOINT
	OMP_NUM_THREADS=1 GRPO_IMAGE_PREFIX=$(REGISTRY) GRPO_IMAGE_TAG=$(TAG) $(PYTHON) -m pytest -m cluster

compile: .venv/ready ## write the three recipes as YAML into build/
	for recipe in tiny qwen3.5-0.8b reference; do $(PYTHON) pipeline.py compile --recipe $$recipe --output build/$$recipe.yaml; done

docs: .venv/ready ## write docs/recipes.md from the recipes
	$(PYTHON) -m components.lib.recipe.reference docs/recipes.md

clean: ## delete what these commands made, the environment included
	rm -rf .venv .cache out build .pytest_cache .mypy_cache .ruff_cache *.egg-info
