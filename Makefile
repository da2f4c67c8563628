# Each target works straight after `git clone`: .venv is made, and made again when
# pyproject.toml or constraints.txt change.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LATEST := .venv-latest

.PHONY: install demo test test-all test-latest lint docs bench tables clean
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv: about 5 GB of packages, some minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[superb-sg]" || \
	    echo "without a C and C++ compiler: tasks SE, SS and VC are left out (extra superb-sg)"
	touch $@

demo: install
	$(BIN)/python demo.py

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/deptry .

test: lint
	$(BIN)/python -m pytest -q -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -q

# The door to s3prl with the newest torch on PyPI, in an environment of its own (about 5 GB).
test-latest:
	test -x $(LATEST)/bin/python || $(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25"
	$(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade torch torchaudio \
	    -e ".[superb,corpus]" pytest pytest-timeout
	$(LATEST)/bin/python -c "import torch, importlib.metadata as m; \
	    print('torch', torch.__version__, '| torchaudio', m.version('torchaudio'))"
	$(LATEST)/bin/python -m pytest -q -m "not slow" tests/test_compat.py tests/test_expert.py \
	    tests/test_upstream.py tests/test_upstream_contract.py tests/test_runner.py tests/test_resume.py

# The pages of docs/ into site/index.html. Nothing is fetched; the theme's notice is about its future.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "written: site/index.html"

# The speed and score promises that need no other data than what we synthesise.
bench: install
	$(BIN)/python benchmarks/kmeans.py
	$(BIN)/python benchmarks/demo_scores.py
	$(BIN)/python benchmarks/learnability.py
	$(BIN)/python benchmarks/feature_store.py
	$(BIN)/python benchmarks/measure_checks.py

# The README's tables, from the committed results.
tables: install
	$(BIN)/python benchmarks/demo_scores.py --tables-only
	$(BIN)/python benchmarks/learnability.py --tables-only
	$(BIN)/python benchmarks/feature_store.py --tables-only
	$(BIN)/python benchmarks/real_keywords.py
	$(BIN)/python benchmarks/real_convergence.py

clean:
	rm -rf .venv .venv-latest build dist site *.egg-info demo_out
