# Two commands after `git clone`: make train, make test. Each does its own set-up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := mujoco,search,data,dev
# of pytest; PARALLEL= runs one test after another
PARALLEL ?= -n logical --maxprocesses 4 --dist worksteal
ARGS ?=

.PHONY: train test test-slow check setup clean

train: $(READY)
	$(BIN)/python map_elites_trainer.py --train-shared --config configs/quickstart.yaml $(ARGS)

test: check
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

$(READY): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "missing: $(PYTHON); on Debian or Ubuntu: apt-get install python3.11 python3.11-venv"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "missing: the venv module of $(PYTHON); on Debian or Ubuntu: apt-get install python3.11-venv"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
