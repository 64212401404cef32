"""Panoramas are turned to the same side before they are transferred.

The loss does not change where a panorama is turned by a quarter, but its sums are then rounded in
another order, and an optimization lets any difference grow. So each is turned until its brightest
quarter comes first, and its result is turned back: the side that it began with makes no difference.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gatys_norm import sphere
from gatys_norm.images.inputs import Inputs, LoadedInputs


def quarter_turns(pictures: Inputs[np.ndarray]) -> int:
    """Return by how many quarters of a turn the brightest quarter comes after the first column.

    Args:
      pictures: H × 2H × 3 the content, its masks, and what x begins with.

    Returns:
      0 to 3; 0 also if the width of one of the pictures is no multiple of 4.
    """
    if any(picture.shape[1] % sphere.PARTS for picture in _of_all_directions(pictures)):
        return 0
    quarters = np.split(pictures.content, sphere.PARTS, axis=1)
    return int(np.argmax([quarter.sum(dtype=np.float64) for quarter in quarters]))


def turned(inputs: LoadedInputs, turns: int) -> LoadedInputs:
    """Return inputs of which the panoramas are turned by so many quarters of a turn."""
    pictures = inputs.pictures
    changed = dataclasses.replace(
        pictures,
        content=turned_back(pictures.content, -turns),
        init=None if pictures.init is None else turned_back(pictures.init, -turns),
        content_masks=tuple(turned_back(mask, -turns) for mask in pictures.content_masks),
    )
    return dataclasses.replace(inputs, pictures=changed)


def turned_back(panorama: np.ndarray, turns: int) -> np.ndarray:
    """Return a panorama whose first column is moved by so many quarters of its width."""
    return np.roll(panorama, turns * panorama.shape[1] // sphere.PARTS, axis=1)


def _of_all_directions(pictures: Inputs[np.ndarray]) -> list[np.ndarray]:
    first = [] if pictures.init is None else [pictures.init]
    return [pictures.content, *first, *pictures.content_masks]
