"""What the parts of the speed benchmark share: its plan, and its messages."""

import sys
from pathlib import Path
from typing import NamedTuple

from gatys_norm.config import TransferConfig

PRECISIONS = ("float32", "bfloat16")


class Plan(NamedTuple):
    """The plan of the measurement.

    `config` is the run of the paper preset, with `size` and `iterations`; `sizes` are the sizes of
    single evaluations, which include `size`.
    """

    config: TransferConfig
    size: int
    iterations: int
    sizes: tuple
    rounds: int
    repeats: int
    peer_python: Path | None = None


def say(text):
    """Write a message to standard error."""
    print(text, file=sys.stderr, flush=True)
