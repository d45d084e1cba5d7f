# The commands of the course; `make` alone lists them.
PYTHON ?= python3
PORT ?= 8000
NOTEBOOKS ?= chapters/*.ipynb
BIN := .venv/bin
READY := .venv/.ready
# One worker more than there are cores: each of them waits now and then for a browser or a kernel.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
PARALLEL := -n $(WORKERS) --maxprocesses 8 --dist loadgroup --no-loadscope-reorder
# Kernels take their figures' backend from the course, not from the caller's shell.
unexport MPLBACKEND

.PHONY: help book test notebooks test-colab record serve zip bench linkcheck lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(READY) ## build the site in _build/html; PYTHON=python3.12 names the Python of .venv
	@begin=$$(date +%s); $(BIN)/jupyter-book build . -W -n && \
	echo "The book took $$(($$(date +%s) - begin)) s: _build/html/index.html (make serve shows it)."

test: book ## build the book; check style, units, and the stored outputs of every chapter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests --cov --cov-report=term $(PARALLEL)
	$(BIN)/python -m pytest chapters --nbval $(PARALLEL)

notebooks: book ## write copies of the chapters for Colab, Kaggle and editors
	@echo "The copies are in _build/notebooks; make test-colab runs them."

test-colab: notebooks ## run every copy with Colab's versions, in an empty folder, then without a network
	$(BIN)/python -m pytest tests/test_notebooks.py -m "" $(PARALLEL)

record: $(READY) ## store the outputs of a full run with the real data; NOTEBOOKS=chapters/09_imdb.ipynb
	@$(BIN)/python -c 'import sys; from utils.plotting import cjk_fonts; sys.exit(not cjk_fonts() and \
	  "Figures with Chinese text need a font for it to be recorded: install Noto Sans CJK.")'
	COURSE_PROFILE=full COURSE_REQUIRE_DATA=1 $(BIN)/python _ext/chapter_runs.py $(NOTEBOOKS)

serve: ## show the built site on this computer alone; PORT=8123 names another port than 8000
	@test -f _build/html/index.html || \
	  { echo "There is no built site yet: make book builds it." >&2; exit 1; }
	@$(PYTHON) -c 'import socket; socket.create_server(("127.0.0.1", $(PORT)))' 2> /dev/null || \
	  { echo "Port $(PORT) is busy. Name another one: make serve PORT=8123" >&2; exit 1; }
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

zip: book ## pack the built site into one file
	@$(BIN)/python -c 'import shutil; print("The site is packed in", shutil.make_archive( \
	  "_build/recurrent-networks-course", "zip", root_dir="_build", base_dir="html"))'

bench: $(READY) ## time the course's own choices against the usual ones
	$(BIN)/python benchmarks/ratios.py

linkcheck: $(READY) ## ask every address that the book names; needs the network
	$(BIN)/jupyter-book build . --builder linkcheck

lock: ## write constraints.txt anew after a change of requirements.txt; needs the network
	$(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --quiet uv==0.13.9
	_build/lock/bin/uv pip compile requirements.txt --output-file constraints.txt --quiet \
	  --universal --python-version 3.11 --no-emit-package recurrent-networks-course \
	  --annotation-style line --custom-compile-command "make lock"

clean: ## remove .venv and all that was built
	rm -rf _build .venv

$(READY): requirements.txt requirements-nodeps.txt constraints.txt pyproject.toml
	@sh setup.sh $(PYTHON) $(firstword $(MAKECMDGOALS))
	@touch $@
