"""The motion between two frames of a film, where it can be relied on, and pictures moved by it.

As in Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos and spherical images", 2018.
A flow is a float32 array H × W × 2: the point (x, y) of one frame lies at (x, y) + flow[y, x] in
the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

REFINEMENTS = 5  # iterations of the variational refinement
CUT_SHARE = 0.35  # of reliable pixels, under which two frames belong to different shots
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


class Motion(NamedTuple):
    """How an earlier frame moves into a later one.

    Attributes:
      flow: from the later frame back to the earlier one, H × W × 2.
      mask: float32 H × W: 1 where the flow is reliable, 0 elsewhere.
    """

    flow: np.ndarray
    mask: np.ndarray

    @property
    def share(self) -> float:
        """The share of the pixels whose flow is reliable."""
        return float(self.mask.mean())

    @property
    def is_cut(self) -> bool:
        """Whether the two frames belong to different shots."""
        return self.share < CUT_SHARE


def motion(earlier: np.ndarray, later: np.ndarray) -> Motion:
    """Estimate how an earlier frame moves into a later one.

    Args:
      earlier: uint8 H × W × 3, RGB.
      later: the same shape.
    """
    backward = optical_flow(later, earlier)
    return Motion(backward, reliable(backward, optical_flow(earlier, later)))


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Estimate the flow from one frame to another, by dense inverse search (DIS).

    The preset medium is used, up to the finest scale. The result does not depend on the number of
    cores.

    Args:
      first: uint8 H × W × 3, RGB.
      second: the same shape.

    Returns:
      float32 H × W × 2.
    """
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    estimator.setFinestScale(0)
    estimator.setVariationalRefinementIterations(REFINEMENTS)
    flow: np.ndarray = estimator.calc(_grey(first), _grey(second), None)
    return flow


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels @ _GREY).astype(np.uint8)


def reliable(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Tell where a flow is reliable: where the flow back returns, and away from edges of motion.

    With w the flow and ŵ the flow back at the point to which w leads, a pixel is reliable unless
    it leads out of the picture, |w + ŵ|² ≥ 0.01 (|w|² + |ŵ|²) + 0.5, which is so where it is
    occluded, or |∇u|² + |∇v|² > 0.01 |w|² + 0.002, u and v being the components of w.

    Args:
      flow: from the frame of the result to the other one, H × W × 2.
      back: from the other frame to that of the result, H × W × 2.

    Returns:
      float32 H × W: 1 where reliable, 0 elsewhere.
    """
    returned = warp(back, flow)
    length = (flow**2).sum(axis=2)
    misses = ((flow + returned) ** 2).sum(axis=2)
    occluded = misses >= 0.01 * (length + (returned**2).sum(axis=2)) + 0.5
    rows, columns = np.gradient(flow, axis=(0, 1))
    edges = (rows**2 + columns**2).sum(axis=2) > 0.01 * length + 0.002
    return (~occluded & ~edges & _inside(flow)).astype(np.float32)


def _inside(flow: np.ndarray) -> np.ndarray:
    height, width, _ = flow.shape
    x, y = _target(flow)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _target(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of the point to which each pixel leads."""
    height, width, _ = flow.shape
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, np.newaxis]
    return x, y


def warp(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Move a picture: the result at each pixel p is `picture` at p + flow, between pixels linear.

    Args:
      picture: float H × W × C; its border continues outside.
      flow: from the frame of the result to that of `picture`, H × W × 2.

    Returns:
      H × W × C, of the type of `picture`.
    """
    height, width, _ = flow.shape
    x, y = _target(flow)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left = np.minimum(x.astype(np.int32), max(width - 2, 0))
    top = np.minimum(y.astype(np.int32), max(height - 2, 0))
    across = (x - left).astype(picture.dtype)[..., np.newaxis]
    down = (y - top).astype(picture.dtype)[..., np.newaxis]
    right, bottom = left + 1, top + 1
    upper = picture[top, left] * (1 - across) + picture[top, right] * across
    lower = picture[bottom, left] * (1 - across) + picture[bottom, right] * across
    result: np.ndarray = upper * (1 - down) + lower * down
    return result


def without_nearer(masks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return long-term masks: each less those of the nearer frames, and at least 0.

    So each pixel is compared with the nearest frame that shows it.

    Args:
      masks: reliable pixels of one frame, compared with earlier frames, the nearest first.
    """
    remaining = []
    taken = np.zeros_like(masks[0]) if masks else None
    for mask in masks:
        remaining.append(np.maximum(mask - taken, 0))
        taken = taken + mask
    return remaining
