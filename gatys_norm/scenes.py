"""What a transfer is made of: the pictures and masks its settings name, and those at one size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from gatys_norm import colors, images

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

_Item = TypeVar("_Item")
_Other = TypeVar("_Other")
STARTS = ("content", "style", "noise")  # what `init` may be besides the path of a picture


@dataclass(frozen=True)
class Pictures(Generic[_Item]):
    """The pictures of a transfer at their own size, float32 H × W × 3, RGB, 0–255; or their paths.

    `content_masks` and `style_masks` have one for each style, or none.
    """

    content: _Item
    styles: tuple[_Item, ...]
    init: _Item | None = None
    content_masks: tuple[_Item, ...] = ()
    style_masks: tuple[_Item, ...] = ()


class Scene(NamedTuple):
    """The pictures at the size of x, as the network sees them.

    `content_masks` and `style_masks` are those of `Pictures`, H × W, from 0 to 1.
    """

    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    content_masks: tuple[np.ndarray, ...] = ()
    style_masks: tuple[np.ndarray, ...] = ()


def picture_paths(config: TransferConfig) -> Pictures[str]:
    """Return `Pictures` with the files in place of the pictures."""
    init = None if config.init in STARTS else config.init
    return Pictures(
        config.content, config.styles, init, config.content_masks or (), config.style_masks or ()
    )


def converted(pictures: Pictures[_Item], convert: Callable[[_Item], _Other]) -> Pictures[_Other]:
    """Return `Pictures` with `convert(item)` in place of every item that is there."""
    return Pictures(
        convert(pictures.content),
        tuple(map(convert, pictures.styles)),
        None if pictures.init is None else convert(pictures.init),
        tuple(map(convert, pictures.content_masks)),
        tuple(map(convert, pictures.style_masks)),
    )


def load_pictures(config: TransferConfig) -> Pictures[np.ndarray]:
    """Load every picture that the settings name, and see that they can be used together.

    Args:
      config: `TransferConfig`.

    Returns:
      Pictures.

    Raises:
      PictureError: a picture cannot be read or would have a side too short for VGG-19, or a mask
        has not its picture's shape or is black.
    """
    pictures = converted(picture_paths(config), images.load_picture)
    check(config, pictures)
    return pictures


def check(config: TransferConfig, pictures: Pictures[np.ndarray]) -> None:
    """Raise PictureError if a size makes a picture too narrow, or a mask is of no use."""
    for size in config.size:
        content_shape, style_shapes = picture_shapes(config, pictures, size)
        _check_wide_enough("content", config.content, content_shape)
        for path, shape in zip(config.styles, style_shapes, strict=True):
            _check_wide_enough("style", path, shape)
    paths = picture_paths(config)
    for path, mask in zip(paths.content_masks, pictures.content_masks, strict=True):
        _check_mask(path, mask, config.content, pictures.content)
    own = zip(paths.style_masks, pictures.style_masks, config.styles, pictures.styles, strict=False)
    for path, mask, style_path, style in own:
        _check_mask(path, mask, style_path, style)


def picture_shapes(
    config: TransferConfig, pictures: Pictures[np.ndarray], size: int
) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """The (height, width) that content and styles are resized to when the content is `size` long.

    With `style_size` "match" they have the same pixel count: Eq. 5's Gram matrix grows with the
    count, so that G(φ_j(s)) and G(φ_j(x)) compare only at equal counts. The paper leaves it open.

    Returns:
      The content's shape and a tuple of the styles'.
    """
    tall, wide = pictures.content.shape[:2]
    content_shape = images.size_for_long_side(tall, wide, size)

    def style_shape(height: int, width: int) -> tuple[int, int]:
        if config.style_size == "match":
            return images.size_for_pixel_count(height, width, math.prod(content_shape))
        if config.style_size == "native":
            return height, width
        return images.size_for_long_side(height, width, int(config.style_size))

    return content_shape, tuple(style_shape(*style.shape[:2]) for style in pictures.styles)


def at_size(config: TransferConfig, pictures: Pictures[np.ndarray], size: int) -> Scene:
    """Return the `Scene` of a size, in the colours that `config.color` wants."""
    content, styles = pictures.content, pictures.styles
    if config.color == "luminance":
        styles = tuple(colors.grey(colors.match_luminance(style, content)) for style in styles)
        content = colors.grey(colors.luminance(content))
    elif config.color == "match":
        styles = tuple(colors.match_colors(style, content) for style in styles)
    content_shape, style_shapes = picture_shapes(config, pictures, size)
    return Scene(
        images.resize(content, *content_shape),
        tuple(
            images.resize(style, *shape) for style, shape in zip(styles, style_shapes, strict=True)
        ),
        tuple(map(_mask, pictures.content_masks)),
        tuple(map(_mask, pictures.style_masks)),
    )


def mask_at(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a mask, H × W, brought to another size: each value is the mean of what it covers."""
    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(mask).resize((width, height), box))


def _mask(picture: np.ndarray) -> np.ndarray:
    """The mean of the channels, from 0 to 1; what was transparent is white by now, hence inside."""
    return picture.mean(axis=2) / np.float32(255)


def _check_mask(path: str, mask: np.ndarray, of: str, picture: np.ndarray) -> None:
    height, width = mask.shape[:2]
    tall, wide = picture.shape[:2]
    if abs(height * wide - width * tall) > max(tall, wide):
        raise images.PictureError(
            f"{path}: is {width}×{height} pixels; the mask of {of} ({wide}×{tall}) must have the "
            "same proportions, to lie over it"
        )
    if not mask.any():
        raise images.PictureError(
            f"{path}: is black everywhere; the mask of {of} must be lighter somewhere"
        )


def _check_wide_enough(role: str, path: str, shape: tuple[int, int]) -> None:
    if min(shape) < images.MIN_SIDE:
        height, width = shape
        raise images.PictureError(
            f"{path}: would be {width}×{height} pixels as {role} at this size; "
            f"each side needs {images.MIN_SIDE}, so choose a larger --size or a less narrow picture"
        )
