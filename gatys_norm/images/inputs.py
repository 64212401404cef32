"""The pictures and masks that the settings of a transfer name, and the same at one size."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from gatys_norm import sphere
from gatys_norm.config import EQUIRECTANGULAR, FLAT
from gatys_norm.images import color as colors
from gatys_norm.images import io as picture_io
from gatys_norm.images import masks
from gatys_norm.images.resolution import Dpi
from gatys_norm.images.sizes import (
    MIN_SIDE,
    resize,
    size_for_long_side,
    size_for_pixel_count,
    size_for_wrapping,
)

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

_logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Other = TypeVar("_Other")
Shape: TypeAlias = tuple[int, int]  # height, width
STARTS = ("content", "style", "noise")  # values of `init` that are not the path of a picture


@dataclass(frozen=True)
class Inputs(Generic[_Item]):
    """One item per picture of a transfer: its path, its pixels, or something derived from them.

    Pixels are float32 H × W × 3, RGB, 0–255, in the size of the file. `content_masks` and
    `style_masks` have one item per style, or none.
    """

    content: _Item
    styles: tuple[_Item, ...]
    init: _Item | None = None
    content_masks: tuple[_Item, ...] = ()
    style_masks: tuple[_Item, ...] = ()

    def all(self) -> tuple[_Item, ...]:
        """Return every item that is there."""
        first = () if self.init is None else (self.init,)
        return (self.content, *self.styles, *first, *self.content_masks, *self.style_masks)

    def map(self, convert: Callable[[_Item], _Other]) -> Inputs[_Other]:
        """Return `Inputs` with `convert(item)` for every item that is not missing."""
        return Inputs(
            convert(self.content),
            tuple(map(convert, self.styles)),
            None if self.init is None else convert(self.init),
            tuple(map(convert, self.content_masks)),
            tuple(map(convert, self.style_masks)),
        )


class Shapes(NamedTuple):
    """The (height, width) of content and styles at one size."""

    content: Shape
    styles: tuple[Shape, ...]


@dataclass(frozen=True, eq=False)
class LoadedInputs:
    """The pictures of a transfer, which have passed all checks, and their shapes.

    Attributes:
      pictures: `Inputs` of pixels.
      shapes: {size: `Shapes`} for every size of the settings.
      dpi: resolution that the file of the content gives, in dots per inch (x, y), or None.
      frame: what a frame of a film takes from the others; None for a picture.
      is_panorama: whether the file of the content says that it shows all directions.
    """

    pictures: Inputs[np.ndarray]
    shapes: Mapping[int, Shapes]
    dpi: Dpi | None = None
    frame: FilmFrame | None = None
    is_panorama: bool = False

    @functools.cached_property
    def pixel_counts(self) -> dict[int, int]:
        """{size: H · W of the content}, which x has too."""
        return {size: math.prod(shapes.content) for size, shapes in self.shapes.items()}

    @functools.cached_property
    def hashes(self) -> dict[str, str | list[str]]:
        """{field of `Inputs`: SHA-256 of the pixels, or a list of these}, missing ones left out."""
        hashes = self.pictures.map(lambda pixels: hashlib.sha256(pixels.tobytes()).hexdigest())
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(hashes).items()
            if value
        }


class Warped(NamedTuple):
    """An earlier frame of a film, moved to the present one as the film moves.

    Attributes:
      picture: float32 H × W × 3, RGB, 0–255.
      mask: float32 H × W, from 0 to 1: where the present frame shall be like it.
    """

    picture: np.ndarray
    mask: np.ndarray


class FilmFrame(NamedTuple):
    """What the transfer of one frame of a film has to know of the frames around it.

    Attributes:
      temporal_weight: λ_t.
      warped: {how many frames before: `Warped`}, at the last size.
      content_energies: {content layer: E°_j}, one for all frames of a shot, at the last size; for
        layers that are missing it is that of the frame.
    """

    temporal_weight: float
    warped: Mapping[int, Warped]
    content_energies: Mapping[str, float]


class ResizedInputs(NamedTuple):
    """The pictures of a transfer at one of its sizes.

    Attributes:
      content: float32 H × W × 3, RGB, 0–255; x has this shape.
      styles: the same, each of its own shape.
      content_masks: one mask per style, or none; H × W, from 0 to 1, in the size of the file.
      style_masks: the same.
      reference_shapes: shape of each style at stroke size 1; none if that is its shape.
      frame: of a film, at the last size; None for a picture.
    """

    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    content_masks: tuple[np.ndarray, ...] = ()
    style_masks: tuple[np.ndarray, ...] = ()
    reference_shapes: tuple[Shape, ...] = ()
    frame: FilmFrame | None = None


def paths(config: TransferConfig) -> Inputs[str]:
    """Return the paths of the pictures that the settings name."""
    init = None if config.init in STARTS else config.init
    return Inputs(
        config.content,
        tuple(config.style),
        init,
        config.content_masks or (),
        config.style_masks or (),
    )


def load(config: TransferConfig) -> LoadedInputs:
    """Load every picture that the settings name, and check that they fit together.

    Args:
      config: `TransferConfig`.

    Returns:
      LoadedInputs.

    Raises:
      PictureError: a picture cannot be read, or a side of it would be too short for VGG-19; or a
        mask is black, or does not have the proportions of its picture; or the content does not
        have those of a panorama, if it shall be one.

    Warns:
      UserWarning: the file of the content says that it is a panorama, and the settings do not.
    """
    inputs = check(config, paths(config).map(picture_io.load_picture))
    is_panorama = picture_io.read_is_panorama(config.content)
    _hint_at_projection(config, inputs.pictures.content, is_panorama)
    dpi = picture_io.read_dpi(config.content)
    return dataclasses.replace(inputs, dpi=dpi, is_panorama=is_panorama)


def check(config: TransferConfig, pictures: Inputs[np.ndarray]) -> LoadedInputs:
    """Return `LoadedInputs` for pictures that are loaded already.

    A style that the stroke size enlarges beyond its own pixels is warned of.

    Raises:
      PictureError: a picture would be too narrow at one of the sizes, or a mask cannot be used.
    """
    _check_projection(config, pictures.content)
    shapes = {size: shapes_at(config, pictures, size) for size in config.size}
    for size, (content_shape, style_shapes) in shapes.items():
        _check_wide_enough("content", config.content, content_shape)
        for path, shape in zip(
            config.style, _reference_shapes(config, pictures, size), strict=True
        ):
            _check_wide_enough("style", path, shape)
        for path, shape in zip(config.style, style_shapes, strict=True):
            _check_wide_enough("style", path, shape, "a larger size, a larger stroke_size")
    file_paths = paths(config)
    for path, mask in zip(file_paths.content_masks, pictures.content_masks, strict=True):
        masks.check(path, mask, config.content, pictures.content)
    style_masks = zip(
        file_paths.style_masks, pictures.style_masks, config.style, pictures.styles, strict=False
    )
    for path, mask, style_path, style in style_masks:
        masks.check(path, mask, style_path, style)
    _warn_of_enlarged_styles(config, pictures)
    return LoadedInputs(pictures, shapes)


def shapes_at(config: TransferConfig, pictures: Inputs[np.ndarray], size: int) -> Shapes:
    """Return the shapes of content and styles if the long side of the content is `size`.

    With `style_size` "match" all have the same number of pixels. The Gram matrix of Eq. 5 grows
    with the number of positions, so G(φ_j(s)) and G(φ_j(x)) are comparable only for equal numbers.
    The paper does not say how large the style picture is. `stroke_size` multiplies its sides. Sides
    of the content on which x is wrapped are rounded, see `sizes.size_for_wrapping`. A panorama has
    a width that `sphere` can divide, and counts the pixels of its sphere.
    """
    tall, wide = pictures.content.shape[:2]
    content_shape = _content_shape(config, size_for_long_side(tall, wide, size))
    is_flat = config.projection == FLAT
    count = math.prod(content_shape) if is_flat else sphere.position_count(content_shape[1])

    def style_shape(height: int, width: int) -> Shape:
        if config.style_size == "match":
            pixel_count = round(count * config.stroke_size**2)
            return size_for_pixel_count(height, width, pixel_count)
        is_native = config.style_size == "native"
        long_side = max(height, width) if is_native else int(config.style_size)
        return size_for_long_side(height, width, round(long_side * config.stroke_size))

    return Shapes(content_shape, tuple(style_shape(*style.shape[:2]) for style in pictures.styles))


def _content_shape(config: TransferConfig, shape: Shape) -> Shape:
    """Return the shape of x that is nearest to a shape, of those that the projection allows."""
    if config.projection == FLAT:
        return size_for_wrapping(*shape, config.wrapped_axes)
    return sphere.picture_shape(shape[1])


def _reference_shapes(
    config: TransferConfig, pictures: Inputs[np.ndarray], size: int
) -> tuple[Shape, ...]:
    """Return the shapes that the styles would have at stroke size 1."""
    return shapes_at(dataclasses.replace(config, stroke_size=1.0), pictures, size).styles


def resized(
    config: TransferConfig, inputs: LoadedInputs, size: int, scale: float = 1.0
) -> ResizedInputs:
    """Return the pictures at one size, with their colors changed as `config.color` says.

    Args:
      config: `TransferConfig`.
      inputs: the pictures.
      size: one of the sizes of `config`.
      scale: by which all sides are multiplied; none becomes shorter than VGG-19 needs.
    """
    pictures = inputs.pictures
    shapes = [inputs.shapes[size].content, *inputs.shapes[size].styles]
    references = _reference_shapes(config, pictures, size) if config.stroke_size != 1 else ()
    content_shape, *style_shapes = (_scaled(shape, scale) for shape in shapes)
    content_shape = _content_shape(config, content_shape)
    content, styles = pictures.content, pictures.styles
    if config.color == "luminance":
        styles = tuple(colors.grey(colors.match_luminance(style, content)) for style in styles)
        content = colors.grey(colors.luminance(content))
    elif config.color == "match":
        styles = tuple(colors.match_colors(style, content) for style in styles)
    return ResizedInputs(
        resize(content, *content_shape, config.wrapped_axes),
        tuple(resize(style, *shape) for style, shape in zip(styles, style_shapes, strict=True)),
        tuple(map(masks.from_picture, pictures.content_masks)),
        tuple(map(masks.from_picture, pictures.style_masks)),
        tuple(_scaled(shape, scale) for shape in references),
        inputs.frame if size == config.size[-1] and scale == 1 else None,
    )


def _scaled(shape: Shape, scale: float) -> Shape:
    height, width = (max(MIN_SIDE, round(side * scale)) for side in shape)
    return height, width


def _check_wide_enough(role: str, path: str, shape: Shape, remedy: str = "a larger size") -> None:
    if min(shape) < MIN_SIDE:
        height, width = shape
        raise picture_io.PictureError(
            f"{path}: would be {width}×{height} pixels as {role} at this size; "
            f"each side needs {MIN_SIDE}, so choose {remedy} or a less narrow picture"
        )


def _hint_at_projection(config: TransferConfig, content: np.ndarray, is_panorama: bool) -> None:
    height, width = content.shape[:2]
    if config.projection != FLAT or width != 2 * height:
        return
    hint = f"projection {EQUIRECTANGULAR} transfers it without a seam"
    if is_panorama:
        warnings.warn(f"{config.content}: is a panorama; {hint}", stacklevel=3)
    else:
        _logger.info("%s: if it is a panorama of all directions, %s", config.content, hint)


def _check_projection(config: TransferConfig, content: np.ndarray) -> None:
    height, width = content.shape[:2]
    if config.projection != FLAT and abs(width - 2 * height) > 1:
        raise picture_io.PictureError(
            f"{config.content}: is {width}×{height} pixels; with projection {config.projection} "
            "a picture must be twice as wide as high"
        )


def _warn_of_enlarged_styles(config: TransferConfig, pictures: Inputs[np.ndarray]) -> None:
    """Warn of each style that has enough pixels for stroke size 1, and not for the one chosen."""
    shapes = _reference_shapes(config, pictures, config.size[-1])
    for path, style, shape in zip(config.style, pictures.styles, shapes, strict=True):
        height, width = style.shape[:2]
        largest = math.sqrt(height * width / math.prod(shape))
        if 1 <= largest < config.stroke_size:
            warnings.warn(
                f"{path}: stroke_size {config.stroke_size:g} enlarges it beyond its own "
                f"{width}×{height} pixels; up to {math.floor(100 * largest) / 100:g} does not",
                stacklevel=3,
            )
