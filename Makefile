# Two commands: `make demo` and `make test`. Both make the environment on first use.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint format types tables docs slides clean

demo: $(VENV)/ready
	$(RUN) -m experiments.demo

# Notebooks and training tests are the long ones; two workers keep two cores busy.
test: lint types
	$(RUN) -m pytest -n 2

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(VENV)/ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(VENV)/ready
	$(RUN) -m mypy allconv experiments

# The tables of the README and of docs/, from the records.
tables: $(VENV)/ready
	$(RUN) -m experiments.documents

# The API reference, from the docstrings.
docs: $(VENV)/ready
	rm -rf site
	TF_CPP_MIN_LOG_LEVEL=3 $(RUN) -m pdoc allconv --docformat google --output-directory site
	$(RUN) -m tools.links site *.md docs findings notebooks records weights

# One page from docs/slides.md, for a projector; needs Node.js.
slides:
	npx --yes @marp-team/marp-cli@4 docs/slides.md -o site/slides.html

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  "allconv needs Python 3.10 or newer; this is %d.%d. Name one: \
	make PYTHON=python3.13 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

clean:
	rm -rf $(VENV) demo site
