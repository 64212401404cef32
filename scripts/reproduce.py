"""`gatys-norm reproduce` from a clone: python scripts/reproduce.py --help."""

from gatys_norm.__main__ import main

main("reproduce")
