# Everything here works as any user, without root, and needs only Linux, make and Python 3.11 or newer with venv.
# `make` alone lists the targets. Paths are relative, so a checkout may lie in a folder with spaces.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

PY := .venv/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt
CODE := src tests tools bench
TEST_PROCESSES := $(shell expr $$(nproc) + 1) # they wait a good deal, for disks and for time to pass

# Every process of a test run would compile all modules anew where this is set.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@echo "Purser: make …"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
	@echo "  Variables of demo: PORT CREDENTIALS WORKERS CLOCK CLOCK_START DATA; of setup: PYTHON; of test: ARGS DATABASE;"
	@echo "  of crash: N DATABASE SEED FAULT; of soak: MINUTES DATABASE SEED"

# What is installed: a stamp for what the program needs to run, and one for what its developers need on top.

.venv/.run-time: pyproject.toml constraints.txt
	@tools/venv.sh
	@echo "Installing what Purser needs to run …"
	@$(PIP) --no-compile -e . # what is imported is compiled then: sooner ready
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	@tools/venv.sh
	@echo "Installing what Purser's checks and tests need …"
	@$(PIP) -e '.[dev]'
	@touch .venv/.run-time $@

.PHONY: setup
setup: .venv/.dev ## Make .venv with everything for development
	@echo "Ready: .venv holds $$($(PY) --version) and everything that development needs."

# make hands the variables down in the environment, where any value is safe from the shell.
.PHONY: demo
demo: .venv/.run-time ## Run the gateway with a model server and a demo account, until Ctrl-C
	@exec .venv/bin/purser demo \
		$${PORT:+--port "$$PORT"} $${CREDENTIALS:+--credentials "$$CREDENTIALS"} \
		$${WORKERS:+--workers "$$WORKERS"} $${DATA:+--data "$$DATA"} \
		$${CLOCK:+--clock "$$CLOCK"} $${CLOCK_START:+--clock-start "$$CLOCK_START"}

# Checks

# The tests of what keeps books run twice, on SQLite and on a PostgreSQL that they start; DATABASE=sqlite or postgresql
# runs them on that one. Those of core run once, where their coverage is looked at.
.PHONY: test
test: left-out ## Everything that CI checks: format, lint, types, imports, tidy, tests on both databases
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check $(if $(ARGS),,coverage)
	@for database in $${DATABASE:-sqlite postgresql}; do \
		echo "== tests on $$database"; \
		$(PY) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --database $$database \
			$(or $(ARGS),--ignore tests/core) || [ $$? -eq 5 ] || exit 1; \
	done

.PHONY: check
check: .venv/.dev ## The quick half of test: format, lint, types, imports, architecture table
	@echo "== format" && $(PY) -m ruff format --check $(CODE)
	@echo "== lint" && $(PY) -m ruff check $(CODE)
	@echo "== types" && $(PY) -m mypy
	@echo "== imports" && .venv/bin/lint-imports --no-logo
	@echo "== architecture table" && $(PY) tools/architecture.py --check && echo "up to date"

.PHONY: coverage
coverage: .venv/.dev ## Check that core's tests take every line and branch of the money core
	@echo "== coverage of the money core"
	@$(PY) -m coverage run -m pytest tests/core --no-header && $(PY) -m coverage report

# Tests marked hledger need that program: .ci/run installs it where it can, a laptop may go without.
.PHONY: left-out
left-out:
	@command -v hledger >/dev/null || echo "Left out here: the tests that need hledger (apt-get install hledger)"

.PHONY: model
model: .venv/.dev ## Search every state of the lease protocol in small worlds (half a minute; ARGS=--wide for millions)
	@$(PY) -m tests.model $(ARGS)

# A module of core, or several, or --guards alone (comparisons): ARGS.
.PHONY: mutants
mutants: .venv/.dev ## Make every small fault in the money core, one at a time, for core's tests to notice (minutes)
	@$(PY) -m tools.mutants $(ARGS)

# LiteLLM is a quarter of a gigabyte, so it is installed by itself, and only here.
LITELLM := litellm==1.110.2
build/litellm/.installed: Makefile
	@echo "Installing $(LITELLM) under build/ …"
	@rm -rf build/litellm && $(PY) -m venv build/litellm
	@build/litellm/bin/python -m pip install -qq --disable-pip-version-check --no-compile '$(LITELLM)'
	@touch $@

.PHONY: test-prices
test-prices: .venv/.dev build/litellm/.installed ## Compare our sums with those of genai-prices and LiteLLM (a minute)
	@$(PY) -m tests.prices build/litellm $(ARGS)

.PHONY: wheel-test
wheel-test: .venv/.dev ## Build the wheel, install it elsewhere and run the demo from it
	@$(PY) tests/wheel/check_wheel.py

# Seeds of the simulator: N runs from seed FROM on, their count at the end, the story of the first that fails.
.PHONY: simulate
simulate: .venv/.run-time ## Run N=1000 seeds of the simulator from seed FROM=1 on
	@exec .venv/bin/purser simulate --seeds $${N:-1000} --from $${FROM:-1}

# Real processes killed under load. N kills, or MINUTES with a kill now and then; DATABASE=sqlite or postgresql; SEED=1.
# FAULT=name plants a fault of tests/crash/faults.py, which must be caught. What went wrong stays for inspection.

.PHONY: crash
crash: .venv/.dev ## Kill N=1000 serving processes under load, and have an observer add up
	@exec $(PY) -m tests.crash --kills $${N:-1000} --database $${DATABASE:-sqlite} --seed $${SEED:-1} \
		$${FAULT:+--fault "$$FAULT"} $(ARGS)

.PHONY: soak
soak: .venv/.dev ## The same for MINUTES=60, steadily, watching memory, descriptors and disk
	@exec $(PY) -m tests.crash --minutes $${MINUTES:-60} --database $${DATABASE:-sqlite} --seed $${SEED:-1} $(ARGS)

# Benchmarks: figures, not checks; `make test` runs none of them. ARGS=--quick for a first impression.

.PHONY: bench-gateway
bench-gateway: .venv/.run-time ## What a request costs through Purser beside nginx (about four minutes)
	@$(PY) -m bench.gateway $(ARGS)

.PHONY: bench-overspend
bench-overspend: .venv/.dev ## What gateways bill and serve beyond a budget (about a quarter of an hour; ARGS=--install: peers)
	@$(PY) -m bench.overspend $(ARGS)

.PHONY: bench
bench: .venv/.dev ## Every benchmark: the parts, then bench-gateway (about eight minutes)
	@$(PY) -m bench.parts $(ARGS)
	@$(PY) -m bench.gateway $(ARGS)

# Building and upkeep

.PHONY: wheel
wheel: .venv/.dev ## Build dist/purser-….whl
	@$(PY) -m build --wheel --outdir dist .

.PHONY: format
format: .venv/.dev ## Format the code and fix what lint can fix
	@$(PY) -m ruff check --fix --exit-zero --quiet $(CODE)
	@$(PY) -m ruff format $(CODE)

.PHONY: architecture
architecture: .venv/.dev ## Write the module table of docs/architecture.md
	@$(PY) tools/architecture.py

.PHONY: constraints
constraints: ## Write constraints.txt anew from the newest versions that pyproject.toml allows
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && head -n 1 constraints.txt > "$$fresh/pins" \
		&& $(PY) -m venv "$$fresh/venv" && "$$fresh/venv/bin/python" -m pip install -qq -e '.[dev]' \
		&& "$$fresh/venv/bin/python" -m pip freeze --exclude-editable >> "$$fresh/pins" \
		&& cp "$$fresh/pins" constraints.txt

.PHONY: clean
clean: ## Remove what was built and cached (not .venv)
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
