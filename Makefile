# Everything a newcomer needs: `make demo` and `make test` install what they use by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench docs cluster cluster-down clean

demo: $(VENV)/.installed
	$(BIN)/mlsys-ray demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/aggregation.py
	$(BIN)/python benchmarks/vote.py

docs: $(VENV)/.installed-docs
	$(BIN)/zensical build --clean --strict
	$(BIN)/mlsys-ray report --check

# Several nodes on this machine as one cluster; ARGS="--nodes 3 --cpus 2".
cluster: $(VENV)/.installed
	@$(BIN)/python -m mlsys_ray.cluster.local_cluster up $(ARGS)

cluster-down: $(VENV)/.installed
	@$(BIN)/python -m mlsys_ray.cluster.local_cluster down

clean:
	rm -rf $(VENV) build dist site *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; make PYTHON=... names another one")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); the first time this takes some minutes"
	$(PIP) "pip>=25.1"
	$(PIP) --editable .
	@touch $@

# byzfl is a peer of the agreement tests; what it depends on (torchvision) is not needed for that.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --group test --group lint
	$(PIP) --no-deps byzfl
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --editable ".[docs]"
	@touch $@
