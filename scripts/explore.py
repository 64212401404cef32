"""`gatys-norm explore` from a clone: python scripts/explore.py --help."""

from gatys_norm.__main__ import main

main("explore")
