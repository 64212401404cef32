#!/usr/bin/env bash
# Everything that has to hold: lint, format, types, tests.
#   bash scripts/test.sh          without the tests marked slow
#   bash scripts/test.sh --all    every test, with the coverage, and the numeric ones once more as
#                                 the other kind of processor computes
# Further arguments go to pytest.
source "$(dirname "$0")/environment.sh" test
$python -m ruff check .
$python -m ruff format --check .
$python -m mypy
$python -m mypy --config-file tests/mypy.ini
tests=($python -m pytest --numprocesses=2 --dist=loadfile)
if [ "${1:-}" != --all ]; then
    exec "${tests[@]}" -m "not slow" "$@"
fi
shift
"${tests[@]}" --hypothesis-profile=ci --cov=gatys_norm --cov-report=term:skip-covered "$@"
if grep --quiet --no-messages avx512f /proc/cpuinfo; then
    export ONEDNN_MAX_CPU_ISA=AVX2
    echo "once more: the numeric tests, as on a processor with AVX2 only"
else
    export TF_ENABLE_ONEDNN_OPTS=0
    echo "once more: the numeric tests, without oneDNN"
fi
"${tests[@]}" -m numeric "$@"
