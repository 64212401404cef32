"""Masks: pictures that say which region of another picture counts."""

import numpy as np
from PIL import Image

from gatys_norm.images.io import PictureError


def from_picture(picture: np.ndarray) -> np.ndarray:
    """Return the mask that a picture describes: the mean of its channels, divided by 255.

    Pixels that are transparent in the file have become white, so they are inside.

    Args:
      picture: H × W × 3, 0–255.

    Returns:
      H × W, from 0 (outside) to 1 (inside).
    """
    return picture.mean(axis=2) / np.float32(255)


def mask_at(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a mask, H × W, in another size: each value is the mean of the values it covers."""
    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(mask).resize((width, height), box))


def check(path: str, mask: np.ndarray, masked_path: str, masked: np.ndarray) -> None:
    """Raise PictureError unless a mask has the proportions of its picture and is not black.

    Args:
      path: path of the mask.
      mask: the mask as a picture, H × W × 3.
      masked_path: path of the picture that the mask belongs to.
      masked: that picture, H × W × 3.
    """
    height, width = mask.shape[:2]
    tall, wide = masked.shape[:2]
    if abs(height * wide - width * tall) > max(tall, wide):
        raise PictureError(
            f"{path}: is {width}×{height} pixels; the mask of {masked_path} ({wide}×{tall}) must "
            "have the same proportions, to lie over it"
        )
    if not mask.any():
        raise PictureError(
            f"{path}: is black everywhere; the mask of {masked_path} must be lighter somewhere"
        )
