# Each target works straight after `git clone`: .venv is made, and made again when
# pyproject.toml or constraints.txt change.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LATEST := .venv-latest
# Some workers of one thread each: torch's threads on the same cores would wait for one another.
# Tests of one file stay together, since they share what its fixtures make.
PYTEST := $(BIN)/python -m pytest -q
QUICK := $(PYTEST) -m "not slow" -n auto --maxprocesses 4 --dist loadfile
SHUFFLED := $(QUICK) --random-order --random-order-seed

.PHONY: install demo test test-all test-robust test-latest lint docs bench tables clean
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
	$(BIN)/mt4ssl demo

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/deptry .

test: lint
	OMP_NUM_THREADS=1 $(QUICK)

# The slow ones start processes of their own: one after the other.
test-all: test
	$(PYTEST) -m slow

# The quick tests as other processors compute them, with other threads, seeds and orders.
test-robust: install
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 \
	    $(SHUFFLED)=1 --hypothesis-seed=1
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2 \
	    $(SHUFFLED)=2 --hypothesis-seed=2
	ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE OMP_NUM_THREADS=1 \
	    $(SHUFFLED)=3 --hypothesis-seed=3

# The door to s3prl with the newest torch on PyPI and the torchaudio that belongs to it, in an
# environment of its own (about 5 GB); then the same on ESPnet's fork of s3prl.
DOOR := $(LATEST)/bin/python -m pytest -q -m "not slow" tests/upstream/compat/test_compat.py tests/upstream/door/test_packages.py \
    tests/upstream/compat/test_compat_torchaudio_pair.py tests/upstream/door/test_expert.py tests/upstream/test_upstream.py \
    tests/upstream/door/test_upstream_contract.py tests/upstream/heads/test_runner.py tests/upstream/heads/test_resume.py
LATEST_PIP := $(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade
test-latest:
	test -x $(LATEST)/bin/python || $(PYTHON) -m venv $(LATEST)
	$(LATEST_PIP) "pip>=25"
	$(LATEST_PIP) torch -e ".[superb,corpus]" pytest pytest-timeout
	$(LATEST_PIP) --no-deps torchaudio==$$($(LATEST)/bin/python -c "import torch; \
	    from upstream.compat import torchaudio_pair as pair; print(pair.belonging(torch.__version__))")
	$(LATEST)/bin/python -c "from upstream.suite import doctor; print(*doctor.stack())"
	$(DOOR)
	$(LATEST_PIP) --no-deps --target $(LATEST)/fork espnet-s3prl
	PYTHONPATH=$(CURDIR)/$(LATEST)/fork $(LATEST)/bin/python -c "from upstream.suite import doctor; \
	    print(*doctor.stack())"
	PYTHONPATH=$(CURDIR)/$(LATEST)/fork $(DOOR)

# The pages of docs/ into site/index.html. Nothing is fetched; the theme's notice is about its future.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "written: site/index.html"

# The speed and score promises that need no other data than what we synthesise.
bench: install
	$(BIN)/python benchmarks/kmeans.py
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/saving.py
	$(BIN)/python benchmarks/demo_scores.py
	$(BIN)/python benchmarks/learnability.py
	$(BIN)/python benchmarks/feature_store.py
	$(BIN)/python benchmarks/measure_checks.py
	$(BIN)/python benchmarks/parity.py

# The tables and plots of docs/results.md and the picture of README, from the committed results.
tables: install
	$(BIN)/python benchmarks/demo_scores.py --tables-only
	$(BIN)/python benchmarks/demo_search.py --tables-only
	$(BIN)/python benchmarks/learnability.py --tables-only
	$(BIN)/python benchmarks/feature_store.py --tables-only
	$(BIN)/python benchmarks/measure_checks.py --tables-only
	$(BIN)/python benchmarks/abx.py
	$(BIN)/python benchmarks/choose.py
	$(BIN)/python benchmarks/scaling.py --tables-only
	$(BIN)/python benchmarks/parity.py --tables-only
	$(BIN)/python benchmarks/front_end.py --tables-only
	$(BIN)/python benchmarks/kmeans.py --tables-only
	$(BIN)/python benchmarks/extract.py --tables-only
	$(BIN)/python benchmarks/pretrain_step.py --tables-only
	$(BIN)/python benchmarks/pretrain_options.py --tables-only
	$(BIN)/python benchmarks/saving.py --tables-only
	$(BIN)/python benchmarks/manifest.py --tables-only
	$(BIN)/python benchmarks/loader.py --tables-only
	$(BIN)/python benchmarks/labelling.py --tables-only
	$(BIN)/python benchmarks/ceiling.py --tables-only
	$(BIN)/python benchmarks/goals.py
	$(BIN)/python benchmarks/real_small.py table
	$(BIN)/python benchmarks/real_heads.py
	$(BIN)/python benchmarks/ctc_real.py
	$(BIN)/python benchmarks/real_convergence.py
	$(BIN)/python benchmarks/online_shortcut.py table
	$(BIN)/python benchmarks/store_plot.py

clean:
	rm -rf .venv .venv-latest build dist site *.egg-info demo_out
