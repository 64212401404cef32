"""`python -m gatys_norm`: the main command."""

import sys

from gatys_norm import cli

if __name__ == "__main__":
    sys.exit(cli.run())
