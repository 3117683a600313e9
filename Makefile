# One command each: set up, run, test, check, measure.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_LINK_MODE ?= copy

.PHONY: setup run test again containers check bench format lock sbom clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Chancery needs Python 3.11 or later; say PYTHON=/path/to/python3.11 make setup")'
	@echo "Setting up $(VENV): this takes up to a minute the first time and after an update."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

run: setup
	@$(BIN)/chancery serve --demo

check: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml domain commands projections queries infra
	@$(BIN)/python -m tests.secrets

test: setup
	@rm -f .pytest_cache/v/cache/lastfailed
	@$(BIN)/pytest -n $${CHANCERY_TEST_PROCESSES:-2} --dist loadfile || { test $$? = 1 && $(MAKE) --no-print-directory again; }

# One to three tests that failed beside all others are tried alone: what passes so has run out of patience, or it is unsteady, which is a defect.
again:
	@test "$$(grep -c '::' .pytest_cache/v/cache/lastfailed)" -le 3
	@echo "Trying alone what failed, as printed above. What passes now is unsteady and to be mended:"
	@$(BIN)/pytest -n 0 --verbose --last-failed --last-failed-no-failures none

# docker-compose.yml, started for real: needs a Docker engine and some minutes.
containers: setup
	@$(BIN)/pytest -n 0 tests/containers

bench: setup
	@$(BIN)/python -m bench

format: setup
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

lock:
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade --all-extras --output-file requirements/dev.txt pyproject.toml requirements/build.in
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade --output-file requirements/run.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade --output-file requirements/uv.txt requirements/uv.in

# The bill of materials of what a running Chancery needs, as CycloneDX 1.6 JSON.
sbom: setup
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json
	@echo "build/sbom.cdx.json"

clean:
	@rm -rf $(VENV) build
