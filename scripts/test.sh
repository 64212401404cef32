#!/usr/bin/env bash
# Everything that has to hold: lint, format, types, the whole test suite. Arguments go to pytest.
source "$(dirname "$0")/environment.sh" test
$python -m ruff check .
$python -m ruff format --check .
$python -m mypy
$python -m pytest "$@"
