"""The sphere of a panorama, and the flat picture in which a network looks at it. NumPy alone.

A panorama is *equirectangular*: H × 2H pixels, a column per longitude, a row per latitude. Near the
poles its rows are stretched, so a network should not look at it. It looks at an *atlas*: charts of
the sphere next to each other in one flat picture, C pixels wide. C is called the circumference; the
sphere that fits it has a radius of C / 2π pixels, and a surface of C² / π.

- The *band* around the equator, in Mercator's projection: right is east, up is north, and the last
  column is next to the first one.
- The *caps* around the poles, in the stereographic projection, divided into four *sectors* each. A
  sector is a quarter of a cap, turned so that up is north in its middle.

Both projections are conformal: strokes have the same proportions everywhere. Charts meet at the
latitude of sine 3/5, where both enlarge by 5/4; at the equator and at the poles they enlarge by 1.
Each chart is continued beyond where the next one begins, or it would see an edge there: by a margin
of at least `MARGIN` pixels, but for the outer corners of a sector, where it is C / 80.

Rows of the atlas: the sectors of the north, the band, the sectors of the south. Each of them has
four equal parts, a quarter of the longitudes each, so a panorama that is turned by 90° has the same
atlas, moved by C / 4 columns.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple, TypeAlias

import numpy as np

PARTS = 4  # of the longitudes
SIDE_STEP = 16  # the network's last maps have a position per 16 × 16 pixels
WIDTH_STEP = PARTS * SIDE_STEP
SEAM = 3 / 5  # sine of the latitude where the charts meet
BAND_HALF = math.atanh(SEAM)  # height of the band above the equator, in radii: ln 2
CAP_RADIUS = 2 * math.sqrt((1 - SEAM) / (1 + SEAM))  # of a cap in its chart, in radii: 1
MARGIN = 24  # pixels
# Of a panorama's width that the circumference has. The charts enlarge by more than 1 between the
# equator and the poles: with 7/8 an atlas pixel is as large as one at the panorama's equator, on
# average over the sphere.
DENSITY = 7 / 8

Shape: TypeAlias = tuple[int, int]  # height, width


class Charts(NamedTuple):
    """Where the pixels of the first quarter of an atlas look, rows × C / 4 each.

    Attributes:
      latitude: from −π/2 to π/2, north is positive.
      longitude: radians; from 0 to π/2 where the quarter is exact, beyond that in margins.
      scale: by how much the chart enlarges the sphere there.
      coverage: share of the pixel that is not margin.
    """

    latitude: np.ndarray
    longitude: np.ndarray
    scale: np.ndarray
    coverage: np.ndarray


class Taps(NamedTuple):
    """How the first quarter of an atlas is made from a panorama: a sparse matrix.

    The others are made alike from the panorama moved by quarters of its width.

    Attributes:
      pixel: of the quarter, row by row; sorted.
      source: pixel of the panorama, row by row.
      weight: those of a pixel of the quarter have the sum 1.
    """

    pixel: np.ndarray
    source: np.ndarray
    weight: np.ndarray


def picture_shape(width: int) -> Shape:
    """Return (height, width) of a panorama of about this width: a multiple of 64, twice as wide."""
    rounded = WIDTH_STEP * max(1, round(width / WIDTH_STEP))
    return rounded // 2, rounded


def colatitudes(height: int) -> np.ndarray:
    """Return the angle between the north pole and each row of a panorama, 0 to π."""
    return math.pi * (0.5 + np.arange(height)) / height


def circumference(width: int) -> int:
    """Return C for a panorama of this width."""
    return WIDTH_STEP * max(1, round(DENSITY * width / WIDTH_STEP))


def atlas_shape(width: int) -> Shape:
    """Return (height, C) of the atlas of a panorama of this width."""
    around = circumference(width)
    sectors, band = _heights(around)
    return 2 * sectors + band, around


def position_count(width: int, poolings: int = 0) -> float:
    """Return the surface of the sphere in positions of a map after so many poolings: C² / 4π ^ n.

    It is the sum of `position_weights`, averaged down to that map.
    """
    return circumference(width) ** 2 / math.pi / 4**poolings


def _heights(around: int) -> tuple[int, int]:
    """Return the numbers of rows of the sectors of one pole, and of the band."""
    radius = around / (2 * math.pi)
    return _padded(CAP_RADIUS * radius), _padded(2 * BAND_HALF * radius)


def _padded(length: float) -> int:
    return SIDE_STEP * math.ceil((length + 2 * MARGIN) / SIDE_STEP)


def charts(width: int) -> Charts:
    """Return the `Charts` of the atlas of a panorama of this width."""
    around = circumference(width)
    sector_rows, band_rows = _heights(around)
    north = _sector(sector_rows, around)
    south = Charts(*(values[::-1] for values in north))
    parts = north, _band(band_rows, around), south._replace(latitude=-south.latitude)
    return Charts(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _band(rows: int, around: int) -> Charts:
    pixel = 2 * math.pi / around
    height = pixel * (rows / 2 - 0.5 - np.arange(rows))[:, np.newaxis]
    longitude = pixel * (0.5 + np.arange(around // PARTS))
    latitude = np.arctan(np.sinh(height))
    coverage = _inside((BAND_HALF - np.abs(height)) / pixel)
    shape = rows, around // PARTS
    values = latitude, longitude, np.cosh(height), coverage
    return Charts(*(np.broadcast_to(value, shape) for value in values))


def _sector(rows: int, around: int) -> Charts:
    """Return the chart of a quarter of the northern cap; its pole is `MARGIN` rows down."""
    pixel = 2 * math.pi / around
    middle = math.pi / PARTS
    down = pixel * (0.5 - MARGIN + np.arange(rows))[:, np.newaxis]
    right = pixel * (0.5 - around / PARTS / 2 + np.arange(around // PARTS))
    radius = np.hypot(down, right)
    to_arc, to_sides = CAP_RADIUS - radius, (down - np.abs(right)) / math.sqrt(2)
    return Charts(
        latitude=math.pi / 2 - 2 * np.arctan(radius / 2),
        longitude=middle + np.arctan2(right, down),
        scale=1 + radius**2 / 4,
        coverage=_inside(to_arc / pixel) * _inside(to_sides / pixel),
    )


def _inside(distance: np.ndarray) -> np.ndarray:
    """Return the share of a pixel on this side of an edge, at a signed distance in pixels."""
    return np.clip(distance + 0.5, 0, 1)


@functools.lru_cache(maxsize=8)
def position_weights(width: int) -> np.ndarray:
    """Return how much each pixel of an atlas counts: its part of the surface, in pixels.

    Margins count nothing. A sum over an atlas with these weights is an integral over the sphere, to
    which all directions contribute equally, whatever chart they lie in.

    Returns:
      float32, the shape of the atlas, from 0 to 1; the sum is `position_count`.
    """
    quarter = charts(width)
    weights = quarter.coverage / quarter.scale**2
    weights *= position_count(width) / PARTS / weights.sum()
    return np.tile(np.minimum(weights, 1), PARTS).astype(np.float32)


def waves_around(width: int) -> np.ndarray:
    """Return how many waves the atlas can show around the circle of latitude of each row.

    In the caps that is half of the circle's length in pixels of the atlas. A panorama's rows next
    to the poles can hold more, which nobody would see but next to the poles, as rays.

    Returns:
      One number per row of the panorama; infinite in the band, in which all are shown.
    """
    colatitude = colatitudes(width // 2)
    radius = 2 * np.tan(np.minimum(colatitude, math.pi - colatitude) / 2)
    waves = circumference(width) / 2 * radius
    return np.where(radius < CAP_RADIUS, waves, np.inf)


def taps(width: int) -> Taps:
    """Return how the first quarter of an atlas is made from a panorama of this width.

    A pixel of the atlas is the mean of the panorama's pixels around where it looks, with weights
    that fall linearly to 0 at the distance of its neighbors, or of the panorama's if those are
    farther away. Rows near a pole, whose pixels are narrow, are so read as far to both sides as the
    atlas pixel is wide. Beyond a pole, the rows continue on the opposite side.
    """
    height = width // 2
    quarter = Charts(*(values.ravel() for values in charts(width)))
    reach = width / circumference(width) / quarter.scale  # a pixel of the atlas, in rows
    tall = np.maximum(reach, 1)
    row = (0.5 - quarter.latitude / math.pi) * height - 0.5
    column = quarter.longitude / (2 * math.pi) * width - 0.5
    first = np.floor(row - tall).astype(np.int64) + 1
    parts = []
    for offset in range(int(np.ceil(2 * tall.max()))):
        weight = 1 - np.abs(first + offset - row) / tall
        pixel = np.flatnonzero(weight > 0)
        parts.append(
            _taps_in_row(
                pixel, first[pixel] + offset, column[pixel], reach[pixel], weight[pixel], width
            )
        )
    pixel, source, weight = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(pixel, kind="stable")
    sums = np.bincount(pixel, weight)
    return Taps(pixel[order], source[order], (weight / sums[pixel])[order])


def _taps_in_row(
    pixel: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    reach: np.ndarray,
    weight: np.ndarray,
    width: int,
) -> Taps:
    """Return what each pixel of an atlas reads in one row of the panorama.

    Args:
      pixel: numbers of the pixels.
      row: which row each reads; rows before the first one and after the last one lie beyond a pole.
      column: where each looks.
      reach: width of each pixel of the atlas at the equator, in columns.
      weight: of the row, for a row as long as the equator.
      width: of the panorama.
    """
    height = width // 2
    is_beyond = (row < 0) | (row >= height)
    row = np.where(row < 0, -1 - row, np.where(row >= height, 2 * height - 1 - row, row))
    column = column + is_beyond * (width / 2)
    shortening = np.sin(math.pi * (row + 0.5) / height)  # of the row
    wide = np.clip(reach / shortening, 1, width / 2)
    first = np.floor(column - wide).astype(np.int64) + 1
    counts = np.ceil(column + wide).astype(np.int64) - first
    starts = np.cumsum(counts) - counts
    repeated = np.repeat(np.arange(len(pixel)), counts)
    columns = first[repeated] + np.arange(counts.sum()) - starts[repeated]
    weights = 1 - np.abs(columns - column[repeated]) / wide[repeated]
    weights *= (weight * shortening / np.add.reduceat(weights, starts))[repeated]
    return Taps(pixel[repeated], row[repeated] * width + columns % width, weights)
