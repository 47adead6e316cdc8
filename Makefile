# The two commands of a newcomer are `make run` and `make test`; both install what they need.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
PEERS_BO ?= .venv-peers-bo
MPICH ?= .venv-mpich
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MATLOOP_DATA ?=
WORKERS ?= 2

.PHONY: install run test test-faults test-mpi test-gpu test-all check bench peers clean

install: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "matloop needs Python 3.11, 3.12 or 3.13; set PYTHON=python3.13")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

run: $(STAMP)
	$(BIN)/matloop run campaigns/quickstart.yaml

# Two at once, a file each; WORKERS=0 runs them one after another.
test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# A thousand runs that are struck by a fault each, and go on; a minute of them is in `make test`. FAULTS="--kind SIGKILL"
# and the like choose, `--only NUMBER` repeats one.
test-faults: $(STAMP)
	$(BIN)/python -m tests.faults $(FAULTS)

# What needs mpiexec, with both MPI libraries that PyPI has; MATLOOP_FAULT_REPEATS=10 for every fault ten times over.
test-mpi: $(STAMP) $(MPICH)/.installed
	$(BIN)/python -m pytest -m mpi --timeout 3600

# What needs a GPU, in at most eight minutes; installs nothing, and takes the Python that is there if there is no .venv.
test-gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py

# One MPI per environment: this one has MPICH, and the rest from the main one.
$(MPICH)/.installed: $(STAMP)
	test -x $(MPICH)/bin/python || $(BIN)/python -m venv $(MPICH)
	$(MPICH)/bin/python -m pip install --quiet -c constraints.txt mpich mpi4py
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$($(MPICH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/matloop.pth
	touch $@

test-all: $(STAMP) $(MPICH)/.installed
	$(BIN)/python -m pytest -m 'not gpu' --timeout 3600

check: $(STAMP) build/types/matloop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What mypy sees as the package `matloop`.
build/types/matloop:
	mkdir -p $(@D)
	ln -sfn ../.. $@

bench: $(STAMP)
	for script in $(filter-out benchmarks/gpu.py,$(sort $(wildcard benchmarks/[a-z]*.py))); do $(BIN)/python $$script $(if $(MATLOOP_DATA),--data $(MATLOOP_DATA)) || exit 1; done

# Other optimisers, in an environment of their own; benchmarks use it where it exists.
peers: $(PEERS)/.installed $(PEERS_BO)/.installed

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -r $<
	touch $@

$(PEERS_BO)/.installed: benchmarks/peers/recommendation.txt
	test -x $(PEERS_BO)/bin/python || $(PYTHON) -m venv $(PEERS_BO)
	$(PEERS_BO)/bin/python -m pip install --quiet -r $<
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(PEERS_BO) $(MPICH) build dist *.egg-info
