"""A panorama of all directions: what is drawn is a function of direction, so it has no seam.

Fields and paths below, hills around, houses at all sides, a sun and clouds above. No panorama is
shipped: it is drawn where it is needed.
"""

from __future__ import annotations

import itertools

import numpy as np

SAMPLES = 2  # per pixel and direction
SUN = (0.6, 0.5, 0.62)  # east, north, up; not a unit vector
HOUSES = 14
FADING = 0.05  # of the ground and of the clouds towards the horizon, as a height
COLORS = {
    name: np.array([int(code[start : start + 2], 16) for start in (0, 2, 4)]) / 255
    for name, code in {
        "zenith": "3a6ea8",
        "horizon": "d9dfd2",
        "sun": "fff3c4",
        "cloud": "f6efe4",
        "far_hill": "8fa3a6",
        "near_hill": "56724a",
        "field": "a8a24e",
        "crop": "6d8438",
        "path": "cdb78c",
        "wall": "c98f5d",
        "roof": "7c3b2c",
        "window": "3c3f55",
    }.items()
}


def panorama(width: int) -> np.ndarray:
    """Return the panorama, equirectangular.

    Args:
      width: even number of pixels.

    Returns:
      float32 width / 2 × width × 3, RGB, 0–255.
    """
    height, offsets = width // 2, (np.arange(SAMPLES) + 0.5) / SAMPLES
    total = np.zeros((height, width, 3))
    for down, right in itertools.product(offsets, offsets):
        latitude = np.pi * (0.5 - (np.arange(height) + down) / height)[:, np.newaxis]
        longitude = 2 * np.pi * (np.arange(width) + right) / width
        flat = np.cos(latitude)
        east, north = flat * np.sin(longitude), flat * np.cos(longitude)
        up = np.broadcast_to(np.sin(latitude), east.shape)
        total += colors_of(np.stack([east, north, up], axis=-1))
    return (255 * total / SAMPLES**2).astype(np.float32)


def colors_of(directions: np.ndarray) -> np.ndarray:
    """Return the colors of directions.

    Args:
      directions: unit vectors (east, north, up), … × 3.

    Returns:
      RGB from 0 to 1, … × 3.
    """
    up = directions[..., 2]
    colors = np.where((up > 0)[..., np.newaxis], _sky(directions), _ground(directions))
    angle = np.arctan2(directions[..., 0], directions[..., 1])
    for name, base, roughness, seed in (("far_hill", 0.16, 0.05, 1), ("near_hill", 0.07, 0.04, 2)):
        ridge = base + roughness * _around(angle, seed)
        colors = _over(
            colors, COLORS[name] * (0.85 + 2 * up[..., np.newaxis]), (up < ridge) & (up > 0)
        )
    for name, mask in _houses(angle, up):
        colors = _over(colors, COLORS[name], mask)
    return np.clip(colors, 0, 1)


def _sky(directions: np.ndarray) -> np.ndarray:
    up = np.maximum(directions[..., 2], 0)
    colors = _mix(COLORS["horizon"], COLORS["zenith"], up**0.6)
    sun = directions @ np.divide(SUN, np.linalg.norm(SUN))
    colors = _mix(colors, COLORS["sun"], np.clip((sun - 0.985) / 0.005, 0, 1))
    plane = directions[..., :2] / (up + 0.25)[..., np.newaxis]
    clouds = np.clip(_waves(plane, 3) - 0.2, 0, 1) * np.clip(up / 0.2, 0, 1)
    return _mix(colors, COLORS["cloud"], clouds)


def _ground(directions: np.ndarray) -> np.ndarray:
    down = np.maximum(-directions[..., 2], 0)
    plane = 2.2 * directions[..., :2] / (down + FADING)[..., np.newaxis]
    field = np.floor(plane / 3).sum(axis=-1) % 2
    stripes = (np.sin(6 * plane[..., 0]) > 0) == (field > 0)
    colors = _over(COLORS["field"] + 0 * plane[..., :1], COLORS["crop"], stripes)
    is_path = (np.abs((plane + 1.5) % 3 - 1.5) < 0.22).any(axis=-1)
    colors = _over(colors, COLORS["path"], is_path)
    return _mix(COLORS["near_hill"], colors, np.clip(down / 0.15, 0, 1))


def _houses(angle: np.ndarray, up: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return (color, where) of the parts of all houses, from back to front."""
    random, parts = np.random.default_rng(4), []
    for number in range(HOUSES):
        middle = 2 * np.pi * (number + random.uniform(-0.3, 0.3)) / HOUSES
        half, top = random.uniform(0.07, 0.15), random.uniform(0.05, 0.22)
        across = np.abs((angle - middle + np.pi) % (2 * np.pi) - np.pi) / half
        parts += [
            ("wall", (across < 1) & (up > -0.12) & (up < top)),
            ("roof", (across < 1.15) & (up >= top) & (up < top + 0.09 * (1.15 - across))),
            ("window", (np.abs(across - 0.5) < 0.2) & (up > 0) & (up < 0.6 * top)),
        ]
    return parts


def _around(angle: np.ndarray, seed: int) -> np.ndarray:
    """Return a ridge over the angle, about −1 to 1, the same at both ends of a turn."""
    random = np.random.default_rng(seed)
    waves = ((n, random.normal() / n**0.7, random.uniform(0, 2 * np.pi)) for n in range(1, 16))
    return sum(size * np.sin(n * angle + phase) for n, size, phase in waves) / 2


def _waves(plane: np.ndarray, seed: int) -> np.ndarray:
    """Return a sum of waves on a plane, about −1 to 1."""
    random = np.random.default_rng(seed)
    vectors = random.normal(0, 2.5, (12, 2))
    return np.sin(plane @ vectors.T + random.uniform(0, 2 * np.pi, 12)).sum(axis=-1) / 4


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first + (second - first) * share[..., np.newaxis]


def _over(colors: np.ndarray, other: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where[..., np.newaxis], other, colors)
