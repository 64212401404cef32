#!/usr/bin/env bash
# docs/explore.jpg, the page of `gatys-norm explore` in Chromium; needs an installed gatys-norm.
#   explore_picture.sh [FLAGS]      flags of `gatys-norm explore`, for example --size=256
set -euo pipefail
cd "$(dirname "$0")/.."
folder=results/explore-picture
gatys-norm explore --content=data/river_town.jpg \
    --style=data/flowing_strokes.jpg,data/angular_planes.jpg,data/soft_washes.jpg \
    --strength=0.3,0.6,0.9 --preset=fast --output_dir="$folder" "$@"
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=760,1080 \
    --screenshot="$folder/page.png" "file://$PWD/$folder/explore.html"
python -c 'import sys; from PIL import Image
Image.open(sys.argv[1]).convert("RGB").save(sys.argv[2], quality=85)' "$folder/page.png" docs/explore.jpg
