# Makes .venv, or brings it up to date: sh setup.sh PYTHON GOAL, for the Makefile.
set -eu
python=$1
goal=$2
hint="Name another one: make $goal PYTHON=python3.12"

stop() {
  echo "$1" >&2
  exit 1
}

minor=$("$python" -c 'import sys; print(sys.version_info[0] * 100 + sys.version_info[1] - 300)') ||
  stop "$python does not run. $hint"
# Which Pythons will do stands in pyproject.toml: requires-python = ">=3.11,<3.15"
bounds=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)".*/\1 \2/p' pyproject.toml)
oldest=${bounds% *}
too_new=${bounds#* }
if [ "$minor" -lt "$oldest" ]; then
  stop "Python 3.$oldest or newer is needed, and $python is older. $hint"
elif [ "$minor" -ge "$too_new" ]; then
  torch=$(sed -n 's/^torch==//p' requirements.txt)
  stop "PyTorch $torch has no build for Python 3.$minor, only up to 3.$((too_new - 1)). $hint"
fi

rm -f .venv/.ready
[ -t 1 ] && quiet= || quiet=--quiet # pip's progress bars are for terminals
if [ -d .venv ]; then
  echo "Set-up again, since what .venv has to hold may have changed."
else
  echo "Set-up, once: about 3 minutes, 1.8 GB of disk, and more where PyTorch brings CUDA's libraries."
fi
echo "Making .venv with Python 3.$minor ..."
"$python" -m venv .venv
install() {
  PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install $quiet "$@" ||
    stop "The installation failed, for the reason above. It needs the network: is there one?
Then try again: make $goal"
}
echo "Installing PyTorch, Jupyter Book and the tools ..."
install --requirement requirements.txt --constraint constraints.txt
install --requirement requirements-nodeps.txt --no-deps
echo "Set-up is done."
