# The commands of the course, which course.py has; `make` alone lists them.
COMMANDS := help book test notebooks test-colab record serve zip bench linkcheck lock clean
PYTHON ?= python3

.PHONY: $(COMMANDS)
$(COMMANDS):
	@$(PYTHON) -c 'f""' || { echo "$(PYTHON) does not run course.py." \
	  "Name another one: make $@ PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) course.py $@
