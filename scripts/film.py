"""`gatys-norm film` from a clone: python scripts/film.py --help."""

from gatys_norm.__main__ import main

main("film")
