# Sourced by demo.sh and test.sh: goes to the project's folder, makes .venv if there is none and
# installs the package with the given extras into it.
#   source environment.sh EXTRAS        ("" for none)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/pip ]; then  # which is the last that venv makes
    fits="import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))"
    python=""
    for name in python3 python3.{13..10}; do
        if "$name" -c "$fits" 2> /dev/null; then
            python=$name
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "needed on the PATH: Python 3.10 to 3.13 with venv (Debian: apt-get install python3-venv)" >&2
        exit 2
    fi
    echo "making .venv with $python"
    "$python" -m venv .venv
fi
echo "installing into .venv"
PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}"
python=.venv/bin/python
