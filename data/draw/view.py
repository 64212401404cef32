"""A perspective picture of flat panels in space, with light, haze and a depth buffer."""

import dataclasses
from collections.abc import Callable

import numpy as np
from tools import linear, mix

SUN = np.array([0.80, 0.58, 0.14])
SUN_LIGHT = np.array([1.25, 1.05, 0.76])
SKY_LIGHT = np.array([0.21, 0.26, 0.34])
HAZE = linear("#c3d0da")
UP = np.array([0.0, 1.0, 0.0])


@dataclasses.dataclass
class Panel:
    """A flat convex patch in space; `paint(u, v)` returns its colors and which points to keep."""

    origin: np.ndarray
    across: np.ndarray
    up: np.ndarray
    outline: list
    paint: Callable
    lit: bool = True


class View:
    """A perspective picture with a depth buffer; the lens is shifted so verticals stay vertical."""

    def __init__(self, width, height, eye_height):
        self.eye = np.array([0.0, eye_height, 0.0])
        rows, columns = np.mgrid[0:height, 0:width]
        self.focal = width * 0.98
        self.horizon = round(height * 0.575)
        self.azimuth = (columns - width / 2) / self.focal
        self.elevation = (self.horizon - rows) / self.focal
        self.ridge = np.zeros((height, width))
        self.color = np.zeros((height, width, 3))
        self.depth = np.full((height, width), np.inf)

    def window(self, corners):
        """The slices of the picture that may see a patch with these corners."""
        height, width = self.depth.shape
        relative = corners - self.eye
        if relative[:, 2].min() < 1.0:
            return slice(0, height), slice(0, width)
        x = relative[:, 0] / relative[:, 2] * self.focal + width / 2
        y = self.horizon - relative[:, 1] / relative[:, 2] * self.focal
        rows = slice(max(int(y.min()) - 1, 0), max(int(y.max()) + 2, 0))
        return rows, slice(max(int(x.min()) - 1, 0), max(int(x.max()) + 2, 0))

    def draw(self, panel):
        """Paint the visible part of one panel."""
        outward = np.cross(panel.up, panel.across)
        distance = float(outward @ (panel.origin - self.eye))
        if panel.lit and distance >= 0:
            return
        corners = [panel.origin + u * panel.across + v * panel.up for u, v in panel.outline]
        area = self.window(np.array(corners))
        azimuth, elevation = self.azimuth[area], self.elevation[area]
        if not azimuth.size:
            return
        rays = np.stack([azimuth, elevation, np.ones_like(azimuth)], axis=-1)
        toward = rays @ outward
        depth = distance / np.where(np.abs(toward) < 1e-9, 1e-9, toward)
        offset = rays * depth[..., None] + (self.eye - panel.origin)
        u, v = offset @ panel.across, offset @ panel.up
        visible = (depth > 0.1) & (depth < self.depth[area])
        for index, (u1, v1) in enumerate(panel.outline):
            u0, v0 = panel.outline[index - 1]
            visible &= (u1 - u0) * (v - v0) - (v1 - v0) * (u - u0) >= 0
        if visible.any():
            self.fill(panel, area, visible, u, v, depth, outward)

    def fill(self, panel, area, visible, u, v, depth, outward):
        """Color, light and haze the seen points of a panel."""
        color, keep = panel.paint(u[visible], v[visible])
        if panel.lit:
            sky = SKY_LIGHT * (0.8 + 0.4 * outward[1])
            color = color * (SUN_LIGHT * max(outward @ SUN, 0) + sky)
        far = depth[visible]
        color = mix(color, HAZE, 1 - np.exp(-far / 900))
        keep = np.broadcast_to(keep, far.shape)
        rows, columns = (index[keep] for index in np.nonzero(visible))
        self.color[area][rows, columns] = color[keep]
        self.depth[area][rows, columns] = far[keep]
