# Everything runs in .venv, installed from constraints.txt; nothing else need be there but Python.
# PYTHON=python3.13 makes .venv anew where it is of another version; without it .venv stays as it is.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(or $(wildcard $(BIN)/python),python3)
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
STAMP := $(VENV)/.installed-$(VERSION)
BENCH_STAMP := $(VENV)/.installed-bench-$(VERSION)
SLOW_STAMP := $(VENV)/.installed-slow-$(VERSION)
DOCS_STAMP := $(VENV)/.installed-docs-$(VERSION)
# An environment of its own: the oldest Python with the oldest releases of the dependencies.
OLDEST := .venv-oldest
OLDEST_PYTHON ?= $(if $(filter 3.11,$(VERSION)),$(PYTHON),python3.11)
OLDEST_STAMP := $(OLDEST)/.installed

.PHONY: help demo test test-oldest test-slow test-installed test-versions fuzz lint docs bench ui serve lock audit clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       the whole life of a model on the synthetic cohort, in minutes"
	@echo "make test       install and run the tests"
	@echo "make test-slow  the tests that take longer"
	@echo "make test-oldest     the tests with the oldest releases of the dependencies"
	@echo "make test-installed  every verb and a packed bento as installed, without the checkout"
	@echo "make test-versions   demo and test on each supported Python that is at hand"
	@echo "make fuzz       thousands of damaged tables, of which none may be misread; an hour"
	@echo "make lint       ruff and mypy"
	@echo "make docs       the documentation into site/; a broken link fails"
	@echo "make bench      speed, accuracy and coverage; hours, but ONLY=trial,metrics,coverage is short"
	@echo "make lock       the three files of exact versions anew, from the ranges of pyproject.toml"
	@echo "make audit      licences of what is installed, and known vulnerabilities where there is a network"
	@echo "make ui         MLflow on the project's runs"
	@echo "make serve      the champion of the demo, on 127.0.0.1:3000"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null \
		|| $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# The benchmark's cohorts and peers; nothing else needs them.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench,dashboard]'
	touch $(BENCH_STAMP)

# Spark, half a gigabyte, which one slow test alone needs.
$(SLOW_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,spark]'
	touch $(SLOW_STAMP)

# The oldest releases that pyproject.toml allows, beside lifelines and scanpy.
$(OLDEST_STAMP): pyproject.toml constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[dev,beside]'
	touch $(OLDEST_STAMP)

# What builds the documentation.
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $(DOCS_STAMP)

demo: $(STAMP)
	$(BIN)/accomplice demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow and not installed" -n 2 --dist loadfile --no-loadscope-reorder

# Old releases call what newer releases of the packages under them deprecate.
test-oldest: $(OLDEST_STAMP)
	$(OLDEST)/bin/python -m pytest -m "not slow and not installed" -n 2 --dist loadfile \
		-W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning

test-slow: $(SLOW_STAMP)
	$(BIN)/python -m pytest -m slow

test-installed: $(STAMP)
	$(BIN)/python -m tests.installed

test-versions:
	.ci/versions

# N tables from SEED on, of all kinds or of one KIND.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzzing --n $(or $(N),20000) --seed $(or $(SEED),0) $(if $(KIND),--kind "$(KIND)")

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(BENCH_STAMP)
	$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

ui: $(STAMP)
	$(BIN)/accomplice ui

serve: $(STAMP)
	$(BIN)/accomplice serve models:/accomplice-synthetic-gastric@champion

# A pin that the ranges still allow stays: delete its line to get another release.
lock: $(BENCH_STAMP) $(SLOW_STAMP) $(DOCS_STAMP)
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	$(BIN)/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --all-extras \
		--no-header --no-annotate --output-file constraints-oldest.txt pyproject.toml
	$(BIN)/python -c 'from accomplice.serving.deployment.packaging import REQUIRED as r; print(*r, sep="\n")' \
		| $(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes \
		--no-header --no-annotate --constraint constraints.txt \
		--output-file serving/deployment/requirements.txt -

# Known vulnerabilities of what is tested, of the lower bounds, and of the image.
audit: $(STAMP)
	$(BIN)/python .ci/audit.py

clean:
	rm -rf $(VENV) $(OLDEST) build dist site *.egg-info
