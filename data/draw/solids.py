"""Solids as distance fields: functions from points, N × 3, to their distances from the surface."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np


def lengths(vectors):
    """The lengths of vectors, N × 3."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors))


@dataclasses.dataclass
class Thing:
    """Something on the table.

    Attributes:
      distance: points, N × 3, → their distances.
      color: points → their colors in linear light.
      middle, reach: a ball that holds it; farther away the distance from the ball is taken.
      gloss: strength of its highlights.
    """

    distance: Callable
    color: Callable
    middle: np.ndarray
    reach: float
    gloss: float = 0.15

    def distance_near(self, points):
        """The distance, or a smaller one far away, which costs less."""
        if self.reach == math.inf:
            return self.distance(points)
        bound = lengths(points - self.middle) - self.reach
        near = bound < 0.25
        if near.any():
            bound[near] = self.distance(points[near])
        return bound


def turned(profile, middle, thickness=0.02):
    """Distance from what a potter's wheel makes of a closed outline of (radius, height).

    Where the outline runs along the axis, inside of the solid, that counts as its surface too.
    """
    corners = np.array(profile)
    edges = np.roll(corners, -1, axis=0) - corners

    def distance(points):
        place = points - middle
        flat = np.stack([np.hypot(place[:, 0], place[:, 2]), place[:, 1]], axis=-1)
        nearest, inside = np.full(len(flat), np.inf), np.ones(len(flat))
        for corner, edge in zip(corners, edges, strict=True):
            offset = flat - corner
            share = np.clip(offset @ edge / (edge @ edge), 0, 1)
            gap = offset - share[:, None] * edge
            nearest = np.minimum(nearest, np.einsum("ij,ij->i", gap, gap))
            above, below = flat[:, 1] >= corner[1], flat[:, 1] < corner[1] + edge[1]
            left = edge[0] * offset[:, 1] > edge[1] * offset[:, 0]
            inside = np.where((above & below & left) | ~(above | below | left), -inside, inside)
        return np.sqrt(nearest) * inside - thickness

    return distance


def ball(middle, size, squeeze=(1.0, 1.0, 1.0)):
    """Distance from an ellipsoid; less than the true one by its squeeze."""
    axes = size * np.array(squeeze)

    def distance(points):
        place = (points - middle) / axes
        reach = lengths(place)
        return reach * (reach - 1) / (lengths(place / axes) + 1e-9)

    return distance


def ring(middle, radius, thickness):
    """Distance from a ring that stands upright, facing the viewer."""

    def distance(points):
        place = points - middle
        around = np.hypot(place[:, 0], place[:, 1] * 0.80) - radius
        return (np.hypot(around, place[:, 2]) - thickness) * 0.8

    return distance


def box(middle, half, turn, rounding=0.02):
    """Distance from a box that is turned about the upright axis."""
    cosine, sine = math.cos(turn), math.sin(turn)

    def distance(points):
        x, y, z = (points - middle).T
        place = np.stack([x * cosine + z * sine, y, z * cosine - x * sine], axis=-1)
        gap = np.abs(place) - (np.array(half) - rounding)
        outside = lengths(np.maximum(gap, 0))
        return outside + np.minimum(gap.max(axis=-1), 0) - rounding

    return distance


def together(*distances):
    """Distance from the nearest of several."""
    return lambda points: np.minimum.reduce([distance(points) for distance in distances])
