"""Sizes of pictures, and resizing."""

import math
from collections.abc import Collection

import numpy as np
from PIL import Image

MIN_SIDE = 16  # pixels: conv5 of VGG-19 sees 1/16 of each side
LANCZOS_LOBES = 3


def resize(
    image: np.ndarray, height: int, width: int, wrapped_axes: Collection[int] = ()
) -> np.ndarray:
    """Resize an image by Lanczos resampling (three lobes, wider when shrinking), per channel.

    Lanczos overshoots next to sharp edges. Each channel is therefore clipped to the range that it
    had before, so that a constant stays the same constant and no value leaves 0–255.

    Args:
      image: float32 H×W×3, any range.
      height: height of the result in pixels, at least 1.
      width: width of the result in pixels, at least 1.
      wrapped_axes: axes, 0 or 1, on which opposite sides of the image meet: pixels next to an edge
        are made from those of the far side too.

    Returns:
      float32 height×width×3; `image` itself if it has that size already.
    """
    if image.shape[:2] == (height, width):
        return image
    tall, wide, channel_count = image.shape
    top, left = (
        math.ceil(LANCZOS_LOBES * max(1, before / after)) if axis in wrapped_axes else 0
        for axis, (before, after) in enumerate([(tall, height), (wide, width)])
    )
    box = (left, top, left + wide, top + tall)  # outside of it only neighbors are read
    resized = np.empty((height, width, channel_count), np.float32)
    for index in range(channel_count):
        channel = np.ascontiguousarray(image[..., index], np.float32)
        extended = np.pad(channel, ((top, top), (left, left)), "wrap") if top or left else channel
        picture = Image.fromarray(extended).resize((width, height), Image.Resampling.LANCZOS, box)
        np.clip(np.asarray(picture), channel.min(), channel.max(), out=resized[..., index])
    return resized


def size_for_long_side(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Return (height, width) of the same proportions, the longer one `long_side`, at least 1."""
    longest = max(height, width)
    tall, wide = (max(1, round(side * long_side / longest)) for side in (height, width))
    return tall, wide


def size_for_wrapping(height: int, width: int, wrapped_axes: Collection[int]) -> tuple[int, int]:
    """Return (height, width) with each wrapped side rounded to a multiple of `MIN_SIDE`.

    The poolings of VGG-19 drop what is left over, so that its maps would not end where the picture
    does. A side that is shorter than `MIN_SIDE` stays as it is.
    """
    tall, wide = (
        MIN_SIDE * round(side / MIN_SIDE) if axis in wrapped_axes and side >= MIN_SIDE else side
        for axis, side in enumerate((height, width))
    )
    return tall, wide


def size_for_pixel_count(height: int, width: int, pixel_count: int) -> tuple[int, int]:
    """Return (height, width) of the same proportions with a product close to `pixel_count`.

    Each side is the exact length, rounded up or down, and at least 1; of these pairs the one whose
    product is closest.
    """
    scale = math.sqrt(pixel_count / (height * width))
    rounded = [
        [max(1, math.floor(side * scale)), math.ceil(side * scale)] for side in (height, width)
    ]
    candidates = [(tall, wide) for tall in rounded[0] for wide in rounded[1]]
    return min(candidates, key=lambda size: abs(size[0] * size[1] - pixel_count))
