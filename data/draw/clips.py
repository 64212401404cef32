"""Short films of which the motion is known exactly: what is drawn is a function of place.

A scene is a pattern without end, seen by a camera that pans, zooms and turns, with a disc in front
that has a pattern of its own and may go out of sight. No film is shipped: these are drawn where
they are needed.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

WAVES = 32
WAVELENGTHS = 7, 60  # in pixels
SAMPLES = 2  # per pixel and direction
DISC = 100  # number of its pattern
EXPOSURE = 0.9  # of the white level, at most


@dataclasses.dataclass(frozen=True)
class Camera:
    """Which part of the scene a frame shows: scene = centre + scale · R(angle) · (pixel − middle).

    Attributes:
      x, y: point of the scene in the middle of the frame, in pixels.
      scale: pixels of the scene per pixel of the frame.
      angle: in radians.
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    angle: float = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """2 × 2."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return self.scale * np.array([[cosine, -sine], [sine, cosine]])


@dataclasses.dataclass(frozen=True)
class View:
    """One frame of a clip.

    Attributes:
      camera: what it shows.
      disc: centre of the disc in the frame, in pixels; None where it is out of sight.
      exposure: factor of the light, 1 or less.
      scene: number of the pattern; another one after a cut.
    """

    camera: Camera = Camera()
    disc: tuple[float, float] | None = None
    exposure: float = 1.0
    scene: int = 0


@dataclasses.dataclass(frozen=True)
class Clip:
    """A film.

    Attributes:
      view: function from the number of a frame, counted from 0, to its `View`.
      count: number of frames.
      side: height and width of a frame in pixels.
    """

    view: Callable[[int], View]
    count: int
    side: int = 128

    @property
    def radius(self) -> float:
        """The radius of the disc in pixels."""
        return self.side / 6

    def frame(self, index: int) -> np.ndarray:
        """Return a frame, uint8 side × side × 3, RGB."""
        view, offsets = self.view(index), (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
        places = itertools.product(offsets, offsets)
        total = sum(self._colors(view, np.add(self._pixels(), place)) for place in places)
        return np.rint(EXPOSURE * view.exposure * 255 * total / SAMPLES**2).astype(np.uint8)

    def _colors(self, view: View, points: np.ndarray) -> np.ndarray:
        """Return the colors of points (x, y) of a frame, RGB from 0 to 1."""
        colors = pattern(view.scene)(self._scene_of(view, points))
        if view.disc is not None:
            inside = self._on_disc(view, points)
            colors[inside] = pattern(DISC)(points[inside] - view.disc)
        return colors

    def flow(self, index: int, other: int) -> np.ndarray:
        """Return the flow from a frame to another one, float32 side × side × 2."""
        here, there, points = self.view(index), self.view(other), self._pixels()
        middle = (self.side - 1) / 2
        scene = self._scene_of(here, points) - (there.camera.x, there.camera.y)
        flow = scene @ np.linalg.inv(there.camera.matrix).T + middle - points
        if here.disc is not None:
            target = there.disc or (math.inf, math.inf)
            flow[self._on_disc(here, points)] = np.subtract(target, here.disc)
        return np.where(np.isfinite(flow), flow, 1e6).astype(np.float32)

    def visible(self, index: int, other: int) -> np.ndarray:
        """Tell which pixels of a frame another one shows too, bool side × side."""
        here, there, points = self.view(index), self.view(other), self._pixels()
        target = points + self.flow(index, other)
        shown = ((target >= 0) & (target <= self.side - 1)).all(axis=2)
        if there.disc is not None:
            shown &= self._on_disc(here, points) | ~self._on_disc(there, target)
        return shown & (here.scene == there.scene)

    def _pixels(self) -> np.ndarray:
        """Return (x, y) of each pixel, side × side × 2."""
        return np.stack(np.meshgrid(*[np.arange(self.side, dtype=float)] * 2), axis=2)

    def _scene_of(self, view: View, points: np.ndarray) -> np.ndarray:
        middle = (self.side - 1) / 2
        return (points - middle) @ view.camera.matrix.T + (view.camera.x, view.camera.y)

    def _on_disc(self, view: View, points: np.ndarray) -> np.ndarray:
        if view.disc is None:
            return np.zeros(points.shape[:2], bool)
        return np.hypot(*np.moveaxis(points - view.disc, 2, 0)) < self.radius


@functools.lru_cache(maxsize=8)
def pattern(seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a pattern of sharp patches: a function from points (x, y) to RGB from 0 to 1."""
    random = np.random.default_rng(seed)
    frequencies = 2 * np.pi / np.geomspace(*WAVELENGTHS, WAVES)
    angles = random.uniform(0, 2 * np.pi, WAVES)
    waves = frequencies * np.stack([np.cos(angles), np.sin(angles)])
    phases = random.uniform(0, 2 * np.pi, WAVES)
    weights = random.normal(0, 3 / math.sqrt(WAVES), (WAVES, 3))

    def colors(points: np.ndarray) -> np.ndarray:
        return (1 + np.tanh(np.cos(points @ waves + phases) @ weights)) / 2

    return colors


def pan(side: int = 128, count: int = 12) -> Clip:
    """Return a clip whose camera moves 2.3 pixels right and 1.1 down per frame."""
    return Clip(lambda index: View(Camera(2.3 * index, 1.1 * index)), count, side)


def zoom(side: int = 128, count: int = 12) -> Clip:
    """Return a clip whose camera comes 2 % nearer with every frame."""
    return Clip(lambda index: View(Camera(scale=0.98**index)), count, side)


def rotation(side: int = 128, count: int = 12) -> Clip:
    """Return a clip whose camera turns by 1.5 degrees per frame."""
    return Clip(lambda index: View(Camera(angle=math.radians(1.5 * index))), count, side)


def whirl(side: int = 128, count: int = 12) -> Clip:
    """Return a clip whose camera turns by 4 degrees and comes 3 % nearer with every frame."""
    return Clip(
        lambda index: View(Camera(scale=0.97**index, angle=math.radians(4 * index))), count, side
    )


def passing(side: int = 128, count: int = 12) -> Clip:
    """Return a clip in which a disc passes in front of a scene, 3.4 pixels per frame."""

    def view(index: int) -> View:
        return View(Camera(0.6 * index, 0), (side / 3 + 3.4 * index, side / 2 - 0.7 * index))

    return Clip(view, count, side)


def returning(side: int = 128, count: int = 24, away: range = range(8, 18)) -> Clip:
    """Return a clip whose disc leaves on the right, is away for some frames, and comes back."""
    step = side / 3 / len(range(away.start))

    def view(index: int) -> View:
        steps = max(away.start - index, index - away.stop + 1)  # from where it is just out of sight
        disc = None if index in away else (side + side / 6 - step * steps, side / 2)
        return View(Camera(0.6 * index, 0), disc)

    return Clip(view, count, side)


def still(side: int = 128, count: int = 100) -> Clip:
    """Return a clip of equal frames."""
    return Clip(lambda index: View(), count, side)


def fade(side: int = 128, count: int = 12) -> Clip:
    """Return a clip of equal frames whose exposure falls from 1 to 0.25."""
    return Clip(lambda index: View(exposure=1 - 0.75 * index / (count - 1)), count, side)


def cut(side: int = 128, count: int = 12) -> Clip:
    """Return a clip that pans, with a hard cut to another scene in its middle."""

    def view(index: int) -> View:
        return View(Camera(1.5 * index, 0), scene=int(index >= count // 2))

    return Clip(view, count, side)
