# Sourced by demo.sh and test.sh: goes to the project's folder, makes .venv if there is none and
# installs the package with the given extras into it.
#   source environment.sh EXTRAS        ("" for none)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/python ]; then
    echo "making .venv"
    python3 -m venv .venv
fi
echo "installing into .venv"
PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}"
python=.venv/bin/python
