"""The first painting: wind over a field of grain, in short thick strokes."""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw
from tools import blur, fractal_noise, look_up, rgb, to_image

WHIRLS = [(0.60, 0.17, 0.15, 0.20), (0.98, 0.30, 0.13, -0.15), (0.14, 0.14, 0.13, -0.16)]
SKY_PAINT = "#0a1436 #10255e #173a86 #1f4fa6 #3470bd #2a5aa8 #5f9ad0 #9cc4dc #e2dcae"
GLOW_PAINT = "#3d4a86 #b0562c #dd7a22 #f0982a #f7b93c #fbd866 #fdf0b4"
HILL_PAINT = "#0b1530 #14274f #1c3a66 #264a5a #2e5f74 #5a4a6a"
GRAIN_PAINT = "#1c2348 #4a2a1c #86431a #b8641c #d68a22 #e9ad35 #f4cd5c #fbe9a0"
TRACK_PAINT = "#5a3f4a #8a6a62 #b99a80 #d9c3a0"
TREE_PAINT = "#070b1c #0c1c2c #123338 #1d4a3c #3c6238 #7b8038 #c08a34"


@dataclasses.dataclass
class Coat:
    """One layer of brush strokes: where they start, how they run, and their colors by tone."""

    density: np.ndarray
    angle: np.ndarray
    tone: np.ndarray
    palette: str
    count: int
    length: float
    thickness: float
    front_last: bool = False


def trace_strokes(coat, rng, steps=8):
    """Follow the coat's angle field from random starts; gives (stroke, step, xy)."""
    height, width = coat.density.shape
    chances = np.cumsum(coat.density.ravel(), dtype=float)
    start = np.searchsorted(chances, rng.random(coat.count) * chances[-1])
    y, x = (start // width).astype(float), (start % width).astype(float)
    if coat.front_last:
        order = np.argsort(y + rng.normal(0, 12, y.size))
        x, y = x[order], y[order]
    stride = coat.length / steps * rng.uniform(0.6, 1.3, coat.count)
    path = []
    for step in range(-(steps // 2), steps):
        if step >= 0:
            path.append(np.stack([x, y], axis=-1))
        row, column = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
        angle = coat.angle[row.astype(int), column.astype(int)]
        pace = stride if step >= 0 else -stride
        x, y = x + np.cos(angle) * pace, y + np.sin(angle) * pace
    return np.stack(path, axis=1)


def lay_coat(color, relief, coat, rng, bristles=6):
    """Brush one coat onto a color canvas and, bristle by bristle, onto a height map."""
    palette = np.array([rgb(code) for code in coat.palette.split()]) * 255
    paths = trace_strokes(coat, rng)
    middle = np.clip(paths[:, 0], 0, np.array(coat.tone.shape[::-1]) - 1).astype(int)
    tone = coat.tone[middle[:, 1], middle[:, 0]] + rng.normal(0, 0.09, coat.count)
    paints = palette[np.clip(tone * len(palette), 0, len(palette) - 1).astype(int)]
    paints = paints + rng.normal(0, 9, paints.shape)
    along = np.gradient(paths, axis=1)
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    taper = np.sin(np.linspace(0.35, 2.9, paths.shape[1]))[:, None]
    for path, side, paint in zip(paths, normal * taper * coat.thickness / 2, paints, strict=True):
        body = rng.uniform(90, 160)
        for offset in np.linspace(-1, 1, bristles):
            first, last = rng.integers(0, 2), len(path) - rng.integers(0, 2)
            line = [tuple(point) for point in (path + side * offset)[first:last]]
            load = rng.normal(0, 1)
            fill = tuple(np.clip(paint * (1 + 0.07 * load), 0, 255).astype(int).tolist())
            width = max(2, round(coat.thickness / bristles * 1.7))
            color.line(line, fill=fill, width=width)
            ridge = body + 55 * abs(offset) + 24 * load
            relief.line(line, fill=int(np.clip(ridge, 0, 255)), width=width)


def light_relief(picture, height_map):
    """Light a painted surface from the upper left, so that ridges of paint show."""
    height_map = blur(height_map, (0.8, 0.8))
    down, across = np.gradient(height_map)
    light = np.clip(2.2 * (down + across), -0.32, 0.32)[..., None]
    return picture * (1 + 0.8 * light) + 0.2 * np.maximum(light, 0)


def wind_angle(x, y):
    """Direction of the wind in the sky: a broad stream that curls around a few whirls."""
    stream = 1.0 * y + 0.05 * np.sin(5.2 * x + 1.0) + 0.02 * np.sin(11 * x - 6 * y)
    for cx, cy, size, turn in WHIRLS:
        stream = stream + turn * np.exp(-((x - cx) ** 2 + (1.25 * (y - cy)) ** 2) / size**2)
    down, across = np.gradient(stream)
    return np.arctan2(-across, down), stream


def dusk_coats(width, height, rng):
    """Plan the picture: windy sky, setting sun, hills, a field of grain with a track, a tree."""
    rows, columns = np.mgrid[0:height, 0:width]
    x, y = columns / height, rows / height
    noise = fractal_noise(rng, 512, 512, 1.6)
    soft = look_up(noise, x * 300, y * 300)
    angle, stream = wind_angle(x, y)
    angle = angle + 0.12 * soft
    rim = 0.56 - 0.05 * np.sin(2.1 * x + 0.3) - 0.02 * np.sin(6.1 * x)
    field_rim = 0.63 + 0.025 * np.sin(3.1 * x + 2)
    sky, hills = y < rim + 0.01, (y > rim) & (y < field_rim + 0.01)
    sun = np.hypot(x - 0.40, y - 0.49)
    band = 0.5 + 0.5 * np.sin(48 * stream + 1.2 * soft)
    sky_tone = 0.08 + 0.55 * band + 0.25 * y + 0.12 * soft
    halo = np.arctan2(y - 0.49, x - 0.40) + math.pi / 2 + 0.25 * soft
    glow = np.exp(-(((y - rim) / 0.13) ** 2) - ((x - 0.40) / 0.55) ** 2) * (band > 0.35)
    glow_tone = 0.95 - 1.1 * sun - 0.9 * np.abs(y - rim) + 0.15 * soft
    coats = [
        Coat(sky, angle, sky_tone - 0.2, SKY_PAINT, 2200, 95, 17),
        Coat(sky, angle, sky_tone, SKY_PAINT, 5200, 62, 10),
        Coat(sky * glow, angle, glow_tone, GLOW_PAINT, 1150, 52, 8),
        Coat(sky * (sun < 0.15 - 0.02 * soft), halo, 0.85 - 1.6 * sun, GLOW_PAINT, 420, 36, 8),
        Coat(sky * (sun < 0.075), halo, 1.2 - 2.5 * sun, GLOW_PAINT, 170, 34, 9),
        Coat(hills, 0.25 * soft - 0.1, 0.5 + 0.3 * soft, HILL_PAINT, 1300, 50, 11),
    ]
    return coats + field_coats(x, y, field_rim, soft, noise) + tree_coats(x, y, soft)


def field_coats(x, y, field_rim, soft, noise):
    """Grain that bends in waves, and a pale track that winds to the horizon."""
    depth = np.clip((y - field_rim) / (1 - field_rim), 0, 1)
    wave = np.sin(34 * depth**0.6 - 5 * x + 0.9 * soft)
    lean = -0.95 + 0.55 * wave
    tone = 0.46 + 0.26 * wave + 0.13 * look_up(noise, x * 900, y * 900) + 0.10 * (1 - depth)
    ahead = 0.62 + 0.22 * np.sin(2.6 * (1 - depth) ** 1.4) - 0.22 * depth
    track = (np.abs(x - ahead) < 0.012 + 0.10 * depth**1.3) & (depth > 0)
    grain = (depth > 0) & ~track
    drift = np.arctan2(1.0, np.gradient(ahead, axis=0) * y.shape[0] + 1e-9)
    return [
        Coat(depth > 0, lean * 0.4, tone - 0.25, GRAIN_PAINT, 1500, 55, 15),
        Coat(track, drift + 0.2 * soft, 0.5 + 0.3 * soft, TRACK_PAINT, 380, 42, 10),
        Coat(grain * (1.6 - depth), lean, tone, GRAIN_PAINT, 4800, 46, 8, front_last=True),
    ]


def tree_coats(x, y, soft):
    """Dark trees on the horizon, bent over and combed by the wind."""
    coats = []
    for foot, base, size, count in [
        (0.90, 0.62, 0.20, 260),
        (1.20, 0.64, 0.34, 560),
        (1.02, 0.66, 0.50, 1100),
    ]:
        rise = np.clip((base - y) / size, 0, 1)
        bend = 0.42 * rise**2 * size
        side = (x - foot - bend) / (0.05 + 0.30 * size)
        belly = np.sin(math.pi * np.clip((rise - 0.22) / 0.78, 0, 1) ** 0.8) ** 0.7
        crown = (np.abs(side) < belly * (0.8 + 0.16 * soft)) & (rise > 0.22) & (rise < 1)
        trunk = (np.abs(x - foot - bend) < 0.035 * size) & (y < base) & (rise < 0.5)
        comb = np.arctan2(-1.0, 0.84 * rise + 0.9 * side + 0.25)
        lit = 0.40 - 0.22 * side + 0.2 * soft + 0.12 * np.sin(9 * side + 14 * rise)
        coats.append(Coat(trunk, comb, 0.1 + 0.02 * soft, TREE_PAINT, 60, 150 * size, 9))
        coats.append(Coat(crown, comb, lit, TREE_PAINT, count, 40 + 30 * size, 9))
    return coats


def draw_flowing_strokes():
    """The first painting: wind over a field of grain at dusk, in short thick strokes."""
    width, height = 1024, 800
    rng = np.random.default_rng(12)
    canvas = Image.new("RGB", (width, height), "#13204a")
    relief = Image.new("L", (width, height), 90)
    color_pen, relief_pen = ImageDraw.Draw(canvas), ImageDraw.Draw(relief)
    for coat in dusk_coats(width, height, rng):
        lay_coat(color_pen, relief_pen, coat, rng)
    picture = light_relief(np.asarray(canvas) / 255.0, np.asarray(relief, float) / 255)
    return to_image(picture).resize((512, 400), Image.Resampling.LANCZOS)
