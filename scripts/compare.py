"""`gatys-norm compare` from a clone: python scripts/compare.py --help."""

from gatys_norm.__main__ import main

main("compare")
