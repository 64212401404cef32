#!/usr/bin/env bash
# Both losses on the sample pictures, in about three minutes on two cores.
source "$(dirname "$0")/environment.sh" ""
mkdir -p results
$python -m gatys_norm compare \
    --content=data/river_town.jpg --style=data/flowing_strokes.jpg \
    --output=results/demo.png --size=256 --iterations=150 "$@"
echo "look at results/demo.png; results/demo-original.json and results/demo-normalized.json hold the numbers"
