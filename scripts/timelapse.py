"""`gatys-norm timelapse` from a clone: python scripts/timelapse.py --help."""

from gatys_norm.__main__ import main

main("timelapse")
