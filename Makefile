# The commands of the course. `make book PYTHON=python3.12` chooses the interpreter of .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# What `make record` executes: all, or those named: make record NOTEBOOKS=chapters/09_imdb.ipynb
NOTEBOOKS ?= chapters/*.ipynb
# One worker more than there are cores: each of them waits now and then for a browser or a kernel.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
# Kernels take their figures' backend from the course, not from the caller's shell.
unexport MPLBACKEND

.PHONY: book zip test record bench linkcheck serve clean

book:
	@set -e; t0=$$(date +%s); $(MAKE) --no-print-directory $(READY); \
	t1=$$(date +%s); $(BIN)/jupyter-book build . -W -n; \
	t2=$$(date +%s); \
	echo "set-up $$((t1 - t0)) s, book $$((t2 - t1)) s (each chapter's share is on the status page)"; \
	echo "The book is in _build/html/index.html (make serve shows it)."

zip: book
	$(BIN)/python _ext/pack.py

# The tests look at the built site, too.
test: book
	@set -e; $(BIN)/ruff check .; $(BIN)/ruff format --check .; \
	t0=$$(date +%s); $(BIN)/python -m pytest --cov --cov-report=term \
	  -n $(WORKERS) --maxprocesses 8 --dist loadgroup --no-loadscope-reorder --nbval; \
	t1=$$(date +%s); echo "tests $$((t1 - t0)) s"; \
	echo "All tests passed; the report is above."

record: $(READY)
	COURSE_PROFILE=full COURSE_REQUIRE_DATA=1 $(BIN)/python _ext/record.py $(NOTEBOOKS)

bench: $(READY)
	$(BIN)/python benchmarks/ratios.py

# Asks every address that the book names, so it needs the network and is no part of the tests.
linkcheck: $(READY)
	$(BIN)/jupyter-book build . --builder linkcheck

serve: $(READY)
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html 8000

clean:
	rm -rf _build .venv

$(READY): requirements.txt requirements-nodeps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + \
	  "; name another one: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-nodeps.txt
	@touch $@
