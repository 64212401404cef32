"""Controllable Gatys-style transfer: the original and the normalized loss, side by side.

    from gatys_norm import TransferConfig, stylize
    result = stylize(TransferConfig(content="town.jpg", style="painting.jpg"))

TensorFlow is loaded when `stylize` is used for the first time, not before.
"""

from gatys_norm import surroundings
from gatys_norm.config import TransferConfig

TYPE_CHECKING = False  # not from typing, which would be another import
if TYPE_CHECKING:
    from gatys_norm.transfer import TransferResult, stylize

__all__ = ["TransferConfig", "TransferResult", "stylize"]


def __getattr__(name: str) -> object:
    if name in ("stylize", "TransferResult"):
        with surroundings.importing_tensorflow():
            from gatys_norm import transfer
        return getattr(transfer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
