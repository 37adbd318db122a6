PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
NEWEST := .venv-newest
TORCH_TESTS := tests/training/test_fast_step.py tests/training/test_metering.py tests/training/test_session.py \
	tests/results/test_costs.py tests/golden
SUITES := quickstart lenet-mnist-lite methods-mnist moons transfer-digits pretrained-mnist pretrained-cifar10-jpeg second-look patterns-mnist resnet50-costs masks-only

.PHONY: quickstart test everything lint fast faults families leaderboards oldest newest

quickstart: $(VENV)/.installed
	$(BIN)/lth-bench run quickstart --out runs/quickstart

test: $(VENV)/.installed-test lint
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

everything: $(VENV)/.installed-test lint
	$(BIN)/pytest -n 2 --dist worksteal --long

fast: $(VENV)/.installed-test
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow" --ignore tests/faults --ignore tests/test_quickstart.py --ignore tests/models/test_families.py

faults: $(VENV)/.installed-test
	$(BIN)/pytest -n 2 --dist worksteal tests/faults --long --faults reports/faults.md

# On the oldest and on the newest torch that pyproject.toml allows: what depends on torch's private functions, operators
# and kernels.
oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/pytest -n 2 --dist worksteal $(TORCH_TESTS)

newest: $(NEWEST)/.installed
	$(NEWEST)/bin/pytest -n 2 --dist worksteal $(TORCH_TESTS)

families: $(VENV)/.installed-test
	$(BIN)/pytest -n 2 --dist worksteal tests/models/test_families.py --families docs/families.md

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

leaderboards: $(VENV)/.installed
	for suite in $(SUITES); do \
		$(BIN)/lth-bench report leaderboards/$$suite --tables leaderboards/$$suite --out reports/$$suite || exit 1; \
	done
	$(BIN)/lth-bench claims $(SUITES:%=leaderboards/%) --format md > reports/claims.md

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[test,trackers,ray]"
	touch $(VENV)/.installed $@

$(OLDEST)/.installed: pyproject.toml oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --editable ".[test]" --constraint oldest.txt
	touch $@

# Without the configuration of pip, which may hold versions back.
$(NEWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(NEWEST)
	PIP_CONFIG_FILE=/dev/null $(NEWEST)/bin/pip install --quiet --editable ".[test]"
	touch $@
