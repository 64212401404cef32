"""`gatys-norm survey` from a clone: python scripts/survey.py --help."""

from gatys_norm.__main__ import main

main("survey")
