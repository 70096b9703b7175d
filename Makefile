# make demo and make test do all set-up alone; a second run goes straight to work.

PYTHON := .venv/bin/python

# Which ONNX Runtime: gpu where an NVIDIA driver answers, else cpu. Override: make ORT=cpu
ifndef ORT
ORT := $(shell if [ "$$(uname -m)" = x86_64 ] && nvidia-smi -L >/dev/null 2>&1; then echo gpu; else echo cpu; fi)
endif
# How many tests run side by side. Override: make test TEST_PROCESSES=1
TEST_PROCESSES := auto
# Which tests: one or more of PARTS; all where it is empty. "jack" are those that play through a real JACK server.
PART :=
PARTS := realtime export training benchmarks jack
FOLDERS := $(patsubst %,tests/%,$(filter-out jack,$(PART)))
STAMP := .venv/.stamp-$(ORT)

ifneq ($(filter-out $(PARTS),$(PART)),)
$(error There is no part '$(PART)' of the tests; write make test PART=realtime, export, training, benchmarks or jack)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test papers streaming lint format clean

help: ## Show these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## System packages, virtual environment, Python packages

demo: $(STAMP) ## Play phrases through the shipped models; writes sounds and pictures to build/demo
	$(PYTHON) -m benchmarks.demo

# Tests that play through a sound server come last, with nothing else beside them. A part may have none (pytest's code 5).
test: $(if $(PART),$(STAMP),lint) ## Linter, types, all tests; PART=realtime, export, training, benchmarks or jack: only the tests of that part
	$(if $(or $(FOLDERS),$(if $(PART),,all)),OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not jack" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(FOLDERS))
	$(if $(or $(filter jack,$(PART)),$(if $(PART),,all)),$(PYTHON) -m pytest -m jack)

papers: $(STAMP) ## Render public sounds, train a small model for every row of the papers' tables, write the report; hours, resumable
	@WITH_SOUNDFONT=1 bash .ci/system-packages.sh
	$(PYTHON) -m benchmarks.papers

streaming: $(STAMP) ## Measure every way of streaming against the originals, write the report; about an hour and a half, resumable
	@WITH_SOUNDFONT=1 bash .ci/system-packages.sh
	$(PYTHON) -m benchmarks.streaming

lint: $(STAMP) ## Linter, formatting, types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format: $(STAMP) ## Format the code and apply the linter's safe fixes
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

clean: ## Remove what set-up, tests and the demo made
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks

# The stamp is written last, so an interrupted set-up is taken up again.
$(STAMP): pyproject.toml constraints.txt $(wildcard .ci/*.sh)
	@rm -f .venv/.stamp-*
	@bash .ci/system-packages.sh
	@BASE_PYTHON="$(BASE_PYTHON)" bash .ci/virtual-environment.sh $(ORT)
	@touch $@
