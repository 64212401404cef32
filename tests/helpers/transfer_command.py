"""The command of one transfer, called in this process, with replacements for its work.

Its fixtures are in tests/cli/conftest.py.
"""

import types

import numpy as np

from gatys_norm.cli import main as cli
from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from helpers.commands import outcome

GIVEN = ("--content=a.png", "--style=b.png", "--output=out.png")
DEFAULTS = TransferConfig(content="a.png", style="b.png")
PICTURE = np.linspace(0, 255, 16 * 20 * 3, dtype=np.float32).reshape(16, 20, 3)


class TensorFlowStartedError(AssertionError):
    """A command got past the checks that come before TensorFlow."""


def inputs_without_files(config):
    """Stand in for the pictures that a command loads."""
    shapes = {size: picture_inputs.Shapes((16, 20), ()) for size in config.size}
    pixel_counts = dict.fromkeys(config.size, 16 * 20)
    return types.SimpleNamespace(
        shapes=shapes, pixel_counts=pixel_counts, hashes={}, dpi=None, is_panorama=False
    )


def call(*arguments):
    """Run the main command; returns (exit code, standard output, standard error)."""
    return outcome(cli.run, ["/anywhere/gatys-norm", *arguments])


def assert_refused(result, expected_words):
    """One line on stderr that holds `expected_words`, nothing on stdout, code 2."""
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("gatys-norm: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert expected_words in err
