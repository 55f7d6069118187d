# Everything happens in .venv, which is made on first use and left alone while it is up to date.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
OUT ?=
PRESET ?=

.DEFAULT_GOAL := help
.PHONY: help track demo test proof figures lint format bench images docs clean

help:  ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("motrail needs Python 3.11 or newer; set PYTHON=… to one" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing motrail into $(VENV) …"
	@$(PIP) -e '.[detect,video,evaluate,label,tune,analyze,serve,remote,sagemaker]'
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	@echo "Installing the tools for development …"
	@$(PIP) -e '.[detect,video,evaluate,label,tune,analyze,serve,remote,sagemaker,train,dev]'
	@$(PIP) --no-deps trackeval pixeltable-yolox
	@touch $@

$(VENV)/ready-bench: $(VENV)/ready-dev
	@$(PIP) --no-deps trackers
	@touch $@

track: $(VENV)/ready  ## Track a video: make track VIDEO=… MODEL=… [PRESET=…] [OUT=…]
	@test -n "$(VIDEO)" -a -n "$(MODEL)" || { echo 'usage: make track VIDEO=… MODEL=… [PRESET=…] [OUT=…]' >&2; exit 2; }
	@$(BIN)/motrail track "$(VIDEO)" --model "$(MODEL)" $(if $(PRESET),--preset "$(PRESET)") $(if $(OUT),--output "$(OUT)")

$(VENV)/ready-train: $(VENV)/ready
	@echo "Installing what training takes …"
	@$(PIP) -e '.[train]'
	@touch $@

demo: $(VENV)/ready-train  ## See the whole life on synthetic footage: make demo [QUICK=1]
	@$(BIN)/motrail demo $(if $(QUICK),--quick)

test: $(VENV)/ready-dev  ## Run the tests
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses auto --dist loadfile

proof: $(VENV)/ready-bench  ## Run the checks at full size and print a table
	@$(BIN)/pytest -q -m 'proof or both'
	@$(BIN)/python bench/tracker.py
	@$(BIN)/python bench/formats.py
	@$(BIN)/python bench/evaluate.py
	@$(BIN)/python bench/tune.py
	@$(BIN)/python bench/figures.py --check
	@$(BIN)/python bench/track.py
	@$(BIN)/python bench/batch.py
	@$(BIN)/python bench/serve.py
	@$(BIN)/python bench/remote.py
	@$(BIN)/python bench/label.py

figures: $(VENV)/ready-dev  ## Make the table of docs/figures.md anew
	@$(BIN)/python bench/figures.py

lint: $(VENV)/ready-dev  ## Check style, types and who imports whom
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/ready-dev  ## Bring the source into shape
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet

bench: $(VENV)/ready-bench  ## Measure speed and memory, as ratios
	@$(BIN)/python bench/tracker.py
	@$(BIN)/python bench/formats.py
	@$(BIN)/python bench/evaluate.py
	@$(BIN)/python bench/tune.py
	@$(BIN)/python bench/train.py
	@$(BIN)/python bench/track.py
	@$(BIN)/python bench/batch.py
	@$(BIN)/python bench/serve.py
	@$(BIN)/python bench/remote.py
	@$(BIN)/python bench/scenes.py
	@$(BIN)/python bench/label.py

images: $(VENV)/ready-dev  ## Build the containers without Docker and run them (needs root, debootstrap and buildah)
	@$(BIN)/python containers/images.py

# Apart from the rest: a package that the tests want breaks mkdocstrings.
$(VENV)-docs/ready: constraints.txt
	@test -x $(VENV)-docs/bin/python || $(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/pip --disable-pip-version-check install --quiet -c constraints.txt mkdocs mkdocs-material mkdocstrings-python
	@touch $@

docs: $(VENV)-docs/ready  ## Build the documentation as a site
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet
	@echo "open build/docs/index.html"

clean:  ## Remove the virtual environment and all caches
	@rm -rf $(VENV) $(VENV)-docs .mypy_cache .ruff_cache .import_linter_cache
