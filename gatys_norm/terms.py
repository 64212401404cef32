"""Names of the terms that a loss is the sum of. No TensorFlow here.

A term is named after what it compares: `content/conv4_2`, `style/conv1_2`
(`style[waves]/conv1_2` where there are several styles), `total_variation`; in a film also
`temporal/1`, with the frame before.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

TOTAL_VARIATION = "total_variation"


def content_term(layer: str) -> str:
    """Return the name of the layer's content term."""
    return f"content/{layer}"


def style_term(layer: str, style: str = "") -> str:
    """Return the name of the layer's term of a style; a style alone has no name."""
    return f"style[{style}]/{layer}" if style else f"style/{layer}"


def temporal_term(distance: int) -> str:
    """Return the name of the term that compares a frame with that `distance` frames before."""
    return f"temporal/{distance}"


def term_names(
    content_layers: Iterable[str], style_layers: Collection[str], styles: Iterable[str] = ("",)
) -> tuple[str, ...]:
    """Return the names of the terms that compare layers: those of C, then S for each style."""
    content = tuple(content_term(layer) for layer in content_layers)
    return content + tuple(style_term(layer, style) for style in styles for layer in style_layers)


def loss_terms(config: TransferConfig) -> tuple[str, ...]:
    """Return the names of all terms of the loss of `config`, in the order of its coefficients."""
    names = term_names(config.content_layers, config.style_layers, config.style_names)
    return names + (TOTAL_VARIATION,) * (config.tv_weight > 0)


def is_style(term: str) -> bool:
    """Whether a term compares Gram matrices."""
    return term.startswith("style")


def layer_of(term: str) -> str:
    """Return the layer that a term compares."""
    return term.split("/")[1]


def style_of(term: str) -> str:
    """Return the name of the style that a term compares; "" for a style alone, or for content."""
    return term.partition("[")[2].partition("]")[0]


def block_of(layer: str) -> int:
    """Return the number of the block that a layer, `convX_Y` or `reluX_Y`, lies in: X."""
    return int(re.findall(r"\d+", layer)[0])
