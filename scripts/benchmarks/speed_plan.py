"""What the parts of the speed benchmark share: what is measured, and where that is said."""

import sys
from pathlib import Path
from typing import NamedTuple

from gatys_norm.config import TransferConfig

PRECISIONS = ("float32", "bfloat16")


class Plan(NamedTuple):
    """What is measured.

    `config` is the paper preset's run, of `size` and `iterations`; `sizes` are those of single
    evaluations, `size` among them.
    """

    config: TransferConfig
    size: int
    iterations: int
    sizes: tuple
    rounds: int
    repeats: int
    peer_python: Path | None = None


def say(text):
    """Show on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)
