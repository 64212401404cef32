"""`tfp.optimizer.lbfgs_minimize` and its line search, imported without the rest of TFP.

The packages of TFP import hundreds of modules when they are loaded, tf_keras and setuptools among
them, of which L-BFGS needs a dozen. Here its modules are imported from packages that stay empty.
They are the same modules that TFP itself uses, if a program loads it before or after.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator

_PACKAGES = (
    "tensorflow_probability",
    "tensorflow_probability.python",
    "tensorflow_probability.python.optimizer",
)


@contextlib.contextmanager
def _empty_packages() -> Iterator[None]:
    """Return a context in which the packages of TFP that are not loaded yet are empty ones."""
    empty: list[str] = []
    try:
        for name in _PACKAGES:
            if name in sys.modules:
                continue
            spec = importlib.util.find_spec(name)
            if spec is None or spec.submodule_search_locations is None:
                break  # the import itself says what is missing
            package = types.ModuleType(name)
            package.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = package
            empty.append(name)
        yield
    finally:
        for name in empty:
            del sys.modules[name]


with _empty_packages():
    from tensorflow_probability.python.optimizer import bfgs_utils, lbfgs
    from tensorflow_probability.python.optimizer.linesearch.hager_zhang import (
        HagerZhangLineSearchResult,
        hager_zhang,
    )

__all__ = ["HagerZhangLineSearchResult", "bfgs_utils", "hager_zhang", "lbfgs", "lbfgs_minimize"]

lbfgs_minimize = lbfgs.minimize
