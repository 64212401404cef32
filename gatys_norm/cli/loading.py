"""Loading TensorFlow: without its first lines, deterministic, and with help if it fails.

The import of this module does not load it.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
import sys
import types
import warnings
from collections.abc import Iterator
from typing import cast

from gatys_norm import machine, surroundings
from gatys_norm.cli import console, errors
from gatys_norm.text import one_line


def start_tensorflow() -> types.ModuleType:
    """Import TensorFlow and start its devices; return the module `gatys_norm.transfer`.

    Afterwards warnings are shown as by `show_warnings`.

    Raises:
      LoadingError: it cannot be imported.
    """
    surroundings.drop_coarser_ways()
    warnings.simplefilter("ignore")
    with _loading(), console.silent_stderr():
        with surroundings.importing_tensorflow(), _hidden("matplotlib"):
            from gatys_norm import transfer

            gc.freeze()  # these modules stay; else each full collection would go through them
        console.raise_if_interrupted()
        transfer.tf.config.experimental.enable_op_determinism()
        if "TF_NUM_INTRAOP_THREADS" not in os.environ:
            with contextlib.suppress(RuntimeError):  # another run in this process has set it
                transfer.tf.config.threading.set_intra_op_parallelism_threads(machine.cores())
        transfer.tf.config.list_logical_devices()  # starts the devices, which also writes lines
    transfer.tf.get_logger().setLevel("ERROR")  # it warns about the graph of every size
    show_warnings()
    return transfer


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Return a context in which a package that is not loaded yet is as if it were not installed.

    Keras loads Matplotlib if it is installed, for pictures that no command draws with Keras.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = cast(types.ModuleType, None)  # so Python's documentation says
    try:
        yield
    finally:
        del sys.modules[name]


def show_warnings() -> None:
    """Show each warning of this package once, as a line, and no others; ignore PYTHONWARNINGS."""
    warnings.simplefilter("ignore")
    warnings.showwarning = functools.partial(_show_warning, set())
    warnings.simplefilter("default", UserWarning)


def set_verbosity(verbosity: int) -> None:
    """Show what the library logs, and the causes of warnings, from verbosity 1 on."""
    logger = logging.getLogger("gatys_norm")
    logger.handlers = [_LineHandler()]  # of this command alone
    logger.propagate = False  # or a handler that another package adds at the root repeats it
    logger.setLevel(logging.INFO if verbosity else logging.WARNING)


class _LineHandler(logging.Handler):
    """Shows what is logged as lines."""

    def emit(self, record: logging.LogRecord) -> None:
        _show_line(one_line(record.getMessage()))


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Convert the failure of an import to `LoadingError`."""
    try:
        yield
    except Exception as error:  # a damaged or half-installed package raises many types
        reason = one_line(error) or type(error).__name__
        way_out = "install the program and its packages anew"
        if sys.flags.optimize > 1:  # TensorFlow reads its own docstrings
            way_out = "do not let Python drop docstrings (PYTHONOPTIMIZE=2, -OO)"
        raise errors.LoadingError(
            f"TensorFlow could not be loaded ({reason}); {way_out}"
        ) from error


def _show_warning(
    shown: set[str],
    message: Warning | str,
    category: type[Warning],
    *_args: object,
    **_kwargs: object,
) -> None:
    # Python itself forgets what it has shown whenever a filter changes.
    if category is UserWarning and str(message) not in shown:
        shown.add(str(message))
        _show_line(f"warning: {errors.with_dashes(str(message))}")
        if isinstance(message, Warning) and message.__cause__ is not None:
            logging.getLogger(__name__).info("%s", message.__cause__)


def _show_line(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"gatys-norm: {line}", file=sys.stderr)  # makes the bar step aside
