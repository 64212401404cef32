#!/usr/bin/env bash
# Both losses on the sample pictures: installs, runs two transfers, lays the results side by side.
#   demo.sh [FLAGS]      flags of `gatys-norm compare`, for example --resume
source "$(dirname "$0")/environment.sh" ""
echo "installed in $SECONDS s"
mkdir -p results
echo "two transfers, one per loss; the time that they take is measured first"
$python -m gatys_norm compare \
    --content=data/river_town.jpg --style=data/flowing_strokes.jpg \
    --output=results/demo.png --size=256 --iterations=80 "$@"
echo "done in $SECONDS s; look at that picture: content, style, original loss, normalized loss"
echo "compare the colors and the strokes of both results, and in the table the style reflection:"
echo "how much of the style arrived at a layer, from 0 to 1"
