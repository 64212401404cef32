"""Draw the sample pictures in data/: a town view (content), its masks, three paintings (styles).

    python scripts/make_samples.py

Everything is computed from numpy and Pillow with fixed seeds; no outside picture is read.
"""

import dataclasses
import functools
import io
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from gatys_norm import files
from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.runs import folder as run_folder

DATA = Path(__file__).resolve().parent.parent / "data"

# -------------------------------------------------------------------------------- shared tools


def rgb(code):
    """Turn "#rrggbb" into three floats in [0, 1]."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def linear(code):
    """Turn "#rrggbb" into linear light, for the ray-traced picture."""
    return rgb(code) ** 2.2


def mix(first, second, weight):
    """Blend two colours or colour fields; `weight` (a field) is the share of the second."""
    weight = np.asarray(weight)[..., None]
    return first * (1 - weight) + second * weight


def smoothstep(low, high, x):
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def fractal_noise(rng, height, width, roughness, lowest=0.0):
    """Tileable noise of unit spread with a 1/f^roughness spectrum, flat below `lowest` waves."""
    fy = np.fft.fftfreq(height)[:, None] * height
    fx = np.fft.fftfreq(width)[None, :] * width
    radius = np.sqrt(fy**2 + fx**2 + lowest**2)
    radius[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((height, width))) / radius**roughness
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    return field / field.std()


def look_up(field, x, y):
    """Read a tileable field at fractional positions, with linear interpolation."""
    height, width = field.shape
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    c0, r0 = x0.astype(int) % width, y0.astype(int) % height
    c1, r1 = (c0 + 1) % width, (r0 + 1) % height
    top = field[r0, c0] * (1 - fx) + field[r0, c1] * fx
    bottom = field[r1, c0] * (1 - fx) + field[r1, c1] * fx
    return top * (1 - fy) + bottom * fy


def hashed(a, b, salt=0.0):
    """Hash two integer fields to pseudo-random numbers in [0, 1)."""
    value = np.sin(a * 12.9898 + b * 78.233 + salt * 37.719) * 43758.5453
    return value - np.floor(value)


def to_image(pixels):
    """Turn a float picture in [0, 1] into a Pillow image."""
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def blur(field, radius):
    """Gaussian blur of a float field, mirrored at its borders; `radius` is (down, across)."""
    pad = [(math.ceil(3 * sigma), math.ceil(3 * sigma)) for sigma in radius]
    padded = np.pad(field, pad, mode="symmetric")
    for sigma in reversed(radius):
        frequency = np.fft.rfftfreq(padded.shape[1])
        gain = np.exp(-2 * (math.pi * sigma * frequency) ** 2)
        padded = np.fft.irfft(np.fft.rfft(padded) * gain, padded.shape[1]).T
    (top, bottom), (left, right) = pad
    return padded[top : padded.shape[0] - bottom, left : padded.shape[1] - right]


# ------------------------------------------------------------------------------ the river town

TOWN_SCALE = 3
SUN = np.array([0.80, 0.58, 0.14])
SUN_LIGHT = np.array([1.25, 1.05, 0.76])
SKY_LIGHT = np.array([0.21, 0.26, 0.34])
HAZE = linear("#c3d0da")
UP = np.array([0.0, 1.0, 0.0])
QUAY = 2.6
EYE_HEIGHT = 6.5
HILLS = [  # height, swing, colour, haze
    (0.115, 0.022, "#6f8fb0", 0.72),
    (0.085, 0.020, "#52705f", 0.55),
    (0.052, 0.015, "#4a6a3c", 0.34),
]
PLASTERS = ["#e8d9b8", "#e3c48e", "#d9a87c", "#efe9dc", "#c9d0c4", "#e0b9a4", "#d8c79a", "#cfa35f"]
TRIMS = ["#4f6b52", "#6b4a3a", "#54687c", "#7d3b34", "#8b8d80"]
ROOFS = ["#96604c", "#875243", "#9c6a50", "#7b5448", "#6f5047"]
LEAVES = ["#4e6b2c", "#5f7a33", "#71802f", "#436030"]
STOREY = 2.75


@dataclasses.dataclass
class Panel:
    """A flat convex patch in space; `paint(u, v)` returns its colours and which points to keep."""

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
        seen = (depth > 0.1) & (depth < self.depth[area])
        for index, (u1, v1) in enumerate(panel.outline):
            u0, v0 = panel.outline[index - 1]
            seen &= (u1 - u0) * (v - v0) - (v1 - v0) * (u - u0) >= 0
        if seen.any():
            self.fill(panel, area, seen, u, v, depth, outward)

    def fill(self, panel, area, seen, u, v, depth, outward):
        """Colour, light and haze the seen points of a panel."""
        color, keep = panel.paint(u[seen], v[seen])
        if panel.lit:
            sky = SKY_LIGHT * (0.8 + 0.4 * outward[1])
            color = color * (SUN_LIGHT * max(outward @ SUN, 0) + sky)
        far = depth[seen]
        color = mix(color, HAZE, 1 - np.exp(-far / 900))
        keep = np.broadcast_to(keep, far.shape)
        rows, columns = (index[keep] for index in np.nonzero(seen))
        self.color[area][rows, columns] = color[keep]
        self.depth[area][rows, columns] = far[keep]


def rectangle(width, height, margin=0.0, drop=0.0):
    """Outline of a rectangle, widened by `margin` on both sides and by `drop` below."""
    return [(-margin, -drop), (width + margin, -drop), (width + margin, height), (-margin, height)]


def paint_background(view, noise):
    """Fill the view with sky, clouds and hazy hills."""
    azimuth, elevation = view.azimuth, np.maximum(view.elevation, 0.0)
    sky = mix(linear("#e9e2d2"), linear("#93b8d6"), smoothstep(0.0, 0.22, elevation))
    sky = mix(sky, linear("#2f68a8"), smoothstep(0.12, 0.66, elevation) ** 1.2)
    glow = np.exp(-((azimuth - 0.75) ** 2) / 0.35 - elevation**2 / 0.2)
    sky = mix(sky, linear("#fff0cf"), 0.45 * glow)
    reach = 1 / (elevation + 0.30)
    u, v = azimuth * reach * 60 + 150, reach * 120 + 30
    body = look_up(noise, u, v) + 0.22 * look_up(noise, u * 5, v * 5)
    shade = look_up(noise, u + 10, v - 6)
    cover = smoothstep(-0.25, 1.5, body) * smoothstep(0.02, 0.16, elevation)
    light = np.clip(0.70 + 0.34 * (body - shade) - 0.16 * cover, 0.0, 1.0)
    cloud = mix(linear("#93a2b6"), linear("#fff8ea"), light)
    view.color[:] = mix(sky, cloud, 0.9 * cover)
    for level, (height, swing, code, haze) in enumerate(HILLS):
        ridge = height + swing * look_up(noise, azimuth * 130 + 171 * level, 77.0 * level + 5)
        ridge += 0.0016 * look_up(noise, azimuth * 4200, 31.0 * level)
        wood = look_up(noise, azimuth * 1500, elevation * 2600 + 50 * level)
        slope = look_up(noise, azimuth * 260 + 60 * level, elevation * 500)
        color = linear(code) * (1 + 0.16 * wood + 0.22 * slope)[..., None]
        color = mix(np.clip(color, 0, 1), HAZE, haze - 0.12 * (elevation / height))
        view.color[:] = mix(view.color, color, smoothstep(-0.0012, 0.0012, ridge - elevation))
        view.ridge = np.maximum(view.ridge, ridge)


def stucco(width, eaves, peak, plaster, trim, seed, noise):
    """Painter of a house wall: weathered plaster, shade under the roof, windows, maybe beams."""
    rng = np.random.default_rng(seed)
    columns = max(1, round(width / rng.uniform(1.9, 2.3)))
    timber, shutters = rng.random() < 0.3, rng.random() < 0.55
    shift = rng.uniform(0, 400, 2)

    def roof_line(u):
        rise = (peak - eaves) * 2 / width
        return eaves + rise * np.minimum(u, width - u)

    def paint(u, v):
        stain = look_up(noise, u * 22 + shift[0], v * 22 + shift[1])
        streak = look_up(noise, u * 90 + shift[1], v * 7 + shift[0])
        gap = roof_line(u) - v
        tone = 0.88 + 0.13 * stain + 0.12 * streak + 0.07 * look_up(noise, u * 170, v * 170)
        tone *= (1 - 0.35 * np.exp(-v / 0.9)) * (0.42 + 0.58 * smoothstep(0.3, 0.8, gap))
        color = plaster * tone[:, None]
        color = np.where((v < 0.55)[:, None], linear("#8d8778") * tone[:, None], color)
        storey, column = np.floor(v / STOREY), np.floor(u / width * columns)
        du = u - (column + 0.5) * width / columns
        dv = v - storey * STOREY - 1.6
        if timber:
            beam = (np.abs(dv + 1.35) < 0.16) | (np.abs(np.abs(du) - width / columns / 2) < 0.10)
            brace = np.abs(np.abs(du) * 1.6 - 1.5 - dv * 0.5) < 0.12
            wood = (beam | (brace & (hashed(storey, column, seed) < 0.4))) & (v > 2.9)
            color = np.where(wood[:, None], linear("#5a4030") * (1 + 0.1 * stain)[:, None], color)
        fits = roof_line(u - du + np.sign(du) * 0.7) > storey * STOREY + 2.6
        return paint_windows(color, du, dv, fits, (storey, column, seed), trim, shutters), True

    return paint


def paint_windows(color, du, dv, fits, key, trim, shutters):
    """Set glass, glazing bars, frames, shutters and sills into a wall's colours."""
    storey, column, seed = key
    luck = hashed(storey, column, seed)
    high = 0.72
    inside = fits & (np.abs(dv) < high)
    if shutters:
        slats = 0.8 + 0.2 * np.sin(dv * 40)
        leaf = inside & (np.abs(du) > 0.5) & (np.abs(du) < 0.92) & (storey > 0)
        color = np.where(leaf[:, None], trim * slats[:, None], color)
    door = (storey == 0) & (luck < 0.34)
    entry = door & (np.abs(du) < 0.55) & (dv < 0.72 - 0.5 * du**2)
    fits = fits & ~door
    inside = inside & ~door
    color = np.where(entry[:, None], trim * (0.35 + 0.2 * (np.abs(du) < 0.4))[:, None], color)
    frame = fits & (np.abs(dv) < high + 0.1) & (np.abs(du) < 0.54)
    color = np.where(frame[:, None], linear("#cfc9bb"), color)
    glass = inside & (np.abs(du) < 0.44)
    bars = (np.abs(du) < 0.045) | (np.abs(dv - 0.22) < 0.04)
    sheen = mix(linear("#20262b"), linear("#7d94a6"), np.clip(luck**2 * 0.8 + dv * 0.12, 0, 1))
    sheen = sheen * (0.45 + 0.55 * smoothstep(0.0, 0.3, high - dv))[:, None]
    color = np.where((glass & ~bars)[:, None], sheen, color)
    sill = fits & (np.abs(dv + high + 0.18) < 0.07) & (np.abs(du) < 0.62)
    return np.where(sill[:, None], color * 0.55, color)


def tiles(code, seed, noise):
    """Painter of a tiled roof: rows of single tiles, each with its own tone, and old moss."""

    def paint(u, v):
        row = np.floor(v / 0.34)
        tile = np.floor(u / 0.26 + 0.5 * (row % 2))
        tone = 0.78 + 0.40 * hashed(row, tile, seed) - 0.32 * (v / 0.34 - row < 0.22)
        patch = look_up(noise, u * 14 + seed * 31, v * 14)
        color = linear(code) * (tone + 0.12 * patch)[:, None]
        return mix(color, linear("#5c5a48") * 0.8, 0.5 * smoothstep(0.5, 2.2, patch)), True

    return paint


def masonry(code, noise, course=0.34, length=0.62, arches=None):
    """Painter of stonework; `arches` = (span, rise, pier) cuts a row of openings out of it."""

    def paint(u, v):
        row = np.floor(v / course)
        along = u / length + 0.5 * (row % 2) + 0.2 * hashed(row, row)
        stone = np.floor(along)
        joint = (v / course - row < 0.12) | (along - stone < 0.07)
        patch = look_up(noise, u * 17, v * 17)
        tone = 0.72 + 0.30 * hashed(row, stone) + 0.20 * patch - 0.20 * joint
        tone *= 0.42 + 0.58 * smoothstep(-0.3, 0.9, v + 0.25 * patch)
        color = linear(code) * tone[:, None]
        if arches is None:
            return color, True
        span, rise, pier = arches
        place = np.mod(u, span) - span / 2
        return color, (place / (span / 2 - pier)) ** 2 + (v / rise) ** 2 > 1

    return paint


def railing(u, v):
    """Painter of an iron railing with posts, rails and bars."""
    keep = (np.abs(v - 1.02) < 0.045) | (np.mod(u, 2.0) < 0.09)
    keep |= (np.abs(v - 0.15) < 0.03) | ((np.mod(u, 0.25) < 0.025) & (v > 0.15))
    return np.broadcast_to(linear("#3a3d3c"), (*u.shape, 3)), keep


def ground(code, noise):
    """Painter of trodden earth or grass."""

    def paint(u, v):
        patch = look_up(noise, u * 9, v * 9) + 0.7 * look_up(noise, u * 90, v * 90)
        dapple = smoothstep(0.3, 1.1, look_up(noise, u * 13 + 99, v * 7))
        return linear(code) * np.clip((1 + 0.2 * patch) * (1 - 0.5 * dapple), 0.2, 2)[:, None], True

    return paint


def foliage(blobs, trunk, code, noise):
    """Painter of a leafy crown made of round clumps (x, y, radius), lit from the sun's side."""

    def paint(u, v):
        dome = np.full(u.shape, -9.0)
        facing = np.zeros_like(u)
        for x, y, radius in blobs:
            nx, ny = (u - x) / radius, (v - y) / radius
            bulge = 1 - nx**2 - ny**2
            facing = np.where(bulge > dome, 0.75 * nx + 0.65 * ny, facing)
            dome = np.maximum(dome, bulge)
        leaves = 0.6 * look_up(noise, u * 60, v * 60) + 0.6 * look_up(noise, u * 230, v * 230)
        relief = look_up(noise, u * 230 + 9, v * 230 + 9) - look_up(noise, u * 230, v * 230)
        clump = look_up(noise, u * 15 + 90, v * 15) - look_up(noise, u * 15 + 86, v * 15 - 4)
        keep = dome + 0.50 * leaves + 0.2 * clump > 0.30
        light = np.clip(0.34 + 0.32 * facing - 0.22 * relief - 0.30 * clump, 0.02, 1.2)
        color = mix(linear(code) * SKY_LIGHT * 0.4, linear(code) * SUN_LIGHT * 1.3, light)
        stem = (np.abs(u - trunk[0] - 0.05 * leaves) < trunk[1]) & (v < trunk[2])
        bark = linear("#4b4038") * (0.5 + 0.3 * (u > trunk[0]))[:, None]
        return np.where((stem & ~keep)[:, None], bark, color), keep | stem

    return paint


def tree(rng, place, height, code, noise, slender=0.36):
    """A tree with a trunk, standing upright and facing the viewer."""
    half = height * slender
    blobs = [(half, height * 0.62, half * 0.6)]
    for _ in range(30):
        turn, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.95)
        x = half * (1 + 0.74 * reach * math.cos(turn))
        y = height * (0.62 + 0.31 * reach * math.sin(turn))
        blobs.append((x, y, half * rng.uniform(0.16, 0.40)))
    paint = foliage(blobs, (half, height * 0.018, height * 0.5), code, noise)
    across = np.array([1.0, 0.0, 0.0])
    return Panel(place - half * across, across, UP, rectangle(2 * half, height), paint, lit=False)


def gabled_block(corner, along, size, walls, roof, ridge_across=True):
    """Four walls and a saddle roof; `size` is (width, depth, eaves, gable height).

    `walls(width, gable)` gives the painter of one wall, `roof` is the painter of the slopes.
    """
    width, depth, eaves, gable = size
    outward = np.cross(UP, along)
    back = corner - depth * outward
    sides = [
        (back, outward, depth),
        (corner, along, width),
        (corner + width * along, -outward, depth),
        (back + width * along, -along, width),
    ]
    panels = []
    for index, (origin, across, length) in enumerate(sides):
        outline = rectangle(length, eaves)
        is_gable = (index % 2 == 1) == ridge_across
        if is_gable:
            outline.insert(3, (length / 2, eaves + gable))
        panels.append(Panel(origin, across, UP, outline, walls(length, gable if is_gable else 0)))
        if not is_gable:
            half = (width if ridge_across else depth) / 2
            inward = np.cross(across, UP)
            slope = (half * inward + gable * UP) / math.hypot(half, gable)
            outline = rectangle(length, math.hypot(half, gable), 0.35, 0.55)
            panels.append(Panel(origin + eaves * UP, across, slope, outline, roof))
    return panels


def house(rng, corner, along, width, noise):
    """One town house with its chimney and, under a roof parallel to the river, its dormers."""
    plaster, trim = linear(rng.choice(PLASTERS)), linear(rng.choice(TRIMS))
    depth, eaves = rng.uniform(9, 12), STOREY * rng.integers(2, 5) + 0.6
    ridge_across = bool(rng.random() < 0.6)
    gable = (width if ridge_across else depth) / 2 * rng.uniform(0.95, 1.25)
    seed = int(rng.integers(1, 999))

    def walls(length, rise):
        return stucco(length, eaves, eaves + rise, plaster, trim, seed, noise)

    roof = tiles(rng.choice(ROOFS), seed, noise)
    panels = gabled_block(corner, along, (width, depth, eaves, gable), walls, roof, ridge_across)
    outward = np.cross(UP, along)
    spot = corner + along * width * rng.uniform(0.2, 0.7) - outward * depth * rng.uniform(0.4, 0.7)
    brick = masonry("#8a5a48", noise, 0.16, 0.34)
    stack = (0.7, 0.7, gable * 0.45 + 1.2, 0.1)
    chimney = spot + UP * (eaves + gable * 0.55)
    panels += gabled_block(chimney, along, stack, lambda *_: brick, brick)
    front = stucco(1.6, 2.4, 3.0, plaster, trim, 7, noise)
    for share in () if ridge_across else (0.28, 0.72):
        base = corner + along * (width * share - 0.8) + UP * (eaves + 0.7) - outward * 0.9
        panels += gabled_block(base, along, (1.6, 3.0, 1.5, 0.8), lambda *_: front, roof)
    return panels


def church(place, along, noise):
    """A tower with belfry openings under a tall spire."""
    stone = masonry("#c9bda5", noise, 0.6, 1.2)

    def tower_wall(u, v):
        color, keep = stone(u, v)
        du = np.abs(np.mod(u, 2.6) - 1.3)
        belfry = (du < 0.55) & (v > 24) & (v < 28 - du)
        dial = np.hypot(u - 2.6, v - 20.5)
        color = np.where((belfry | (dial < 1.1))[:, None], color * 0.18, color)
        ledge = (np.abs(v - 22.6) < 0.25) | (np.abs(v - 29.5) < 0.3) | (np.abs(v - 12) < 0.2)
        return np.where(ledge[:, None], linear("#e4dcc8"), color), keep

    slate = tiles("#56606a", 5, noise)
    panels = gabled_block(place, along, (5.2, 5.2, 30.0, 0.2), lambda *_: tower_wall, stone)
    outward = np.cross(UP, along)
    apex = place + along * 2.6 - outward * 2.6 + UP * 43
    corner = place - 5.2 * outward + UP * 30
    for across in (outward, along, -outward, -along):
        slope = apex - corner - across * 2.6
        reach = float(np.linalg.norm(slope))
        outline = [(-0.4, -0.3), (5.6, -0.3), (2.6, reach)]
        panels.append(Panel(corner, across, slope / reach, outline, slate))
        corner = corner + 5.2 * across
    return panels


def town_panels(noise):
    """Lay houses, quay, bridge, church and the far bank along a bending river."""
    rng = np.random.default_rng(21)
    panels = church(np.array([-20.0, QUAY + 3, 96.0]), np.array([0.3, 0, 0.954]), noise)
    corner, heading = np.array([-15.5, QUAY, 17.0]), 0.03
    for index in range(22):
        along = np.array([math.sin(heading), 0.0, math.cos(heading)])
        outward, width = np.cross(UP, along), rng.uniform(6.5, 10.0)
        panels += house(rng, corner, along, width - 0.02, noise)
        if index % 2:
            behind = corner - outward * rng.uniform(17, 24) + UP * rng.uniform(2.0, 5.0)
            panels += house(rng, behind, along, width + 2, noise)
        panels += quay_side(rng, corner, along, width, noise)
        if index > 2 and index % 3 == 0:
            spot = corner + outward * rng.uniform(3.4, 4.6)
            panels.append(tree(rng, spot, rng.uniform(4.5, 6.5), "#6f7f3c", noise))
        panels += green_bank(rng, corner, along, width, noise)
        if index == 9:
            panels += bridge(corner + outward * 5.5 - UP * QUAY, outward, noise)
        corner, heading = corner + width * along, heading + 0.045
    return panels


def quay_side(rng, corner, along, width, noise):
    """The walled promenade in front of one house, with a railing and two bushes."""
    outward = np.cross(UP, along)
    edge, wall, pavement = corner + outward * 6 - along, masonry("#a79c86", noise), "#b3a68c"
    panels = [
        Panel(edge - UP * QUAY, along, UP, rectangle(width + 2, QUAY), wall),
        Panel(corner - along, outward, along, rectangle(6, width + 2), ground(pavement, noise)),
        Panel(edge, along, UP, rectangle(width + 1, 1.1), railing, lit=False),
    ]
    for share in rng.uniform(0, 1, 2):
        spot = corner + along * width * share + outward * rng.uniform(0.3, 0.9)
        panels.append(tree(rng, spot, rng.uniform(1.0, 2.4), "#5f6c38", noise, 0.6))
    return panels


def green_bank(rng, corner, along, width, noise):
    """The rising meadow across the river, with bushes at the water and trees above them."""
    outward = np.cross(UP, along)
    bank = corner + outward * (30.0 + 3 * rng.random()) - UP * QUAY - along * 2
    rise = (outward + 0.3 * UP) / math.hypot(1, 0.3)
    panels = [Panel(bank, rise, along, rectangle(40, width + 5), ground("#70763f", noise))]
    for _ in range(3):
        spot = bank + rise * rng.uniform(0.3, 2.0) + along * rng.uniform(0, width)
        panels.append(tree(rng, spot, rng.uniform(1.2, 3.0), "#5d6a34", noise, 0.62))
        spot = bank + rise * rng.uniform(3, 22) + along * rng.uniform(0, width)
        panels.append(tree(rng, spot, rng.uniform(7, 15), rng.choice(LEAVES), noise, 0.33))
    return panels


def bridge(start, across, noise):
    """A stone bridge of three arches."""
    stone = masonry("#b5a88e", noise, 0.5, 1.0, (8.6, 4.2, 0.8))
    rail = masonry("#cabfa8", noise, 0.9, 2.0)
    behind = 5.0 * np.cross(across, UP)
    outline = rectangle(25.8, 5.6)
    return [
        Panel(start, across, UP, outline, stone),
        Panel(start + behind, across, UP, outline, stone),
        Panel(start + 5.3 * UP - 0.1 * behind, across, UP, rectangle(25.8, 0.9), rail),
    ]


def render_town(width, height, eye_height, panels, noise):
    """Draw sky and panels as seen from one eye height."""
    view = View(width, height, eye_height)
    paint_background(view, noise)
    for panel in panels:
        view.draw(panel)
    return view


def add_water(view, mirror, noise):
    """Fill the open part below the horizon with the rippled mirror image."""
    rows, columns = np.nonzero((view.depth == np.inf) & (view.elevation < 0))
    dip = -view.elevation[rows, columns]
    far = EYE_HEIGHT / np.maximum(dip, 1e-3)
    x, z = view.azimuth[rows, columns] * far, far
    swell = look_up(noise, x * 5, z * 9) + 0.8 * look_up(noise, x * 16 + 70, z * 30)
    calm = look_up(noise, x * 1.2 + 200, z * 2.0)
    height, width = view.depth.shape
    bend = swell * (1.2 + 20 * dip) * (0.8 + 0.4 * calm) * height / 768
    source = np.clip(2 * view.horizon - rows + bend * 2.2, 0, view.horizon - 1)
    sideways = np.clip(columns + 0.35 * bend, 0, width - 1)
    image = np.stack([blur(mirror.color[..., i], (1.6, 0.6)) for i in range(3)], axis=-1)
    image = image[source.astype(int), sideways.astype(int)]
    share = 0.26 + 0.62 * (1 - dip) ** 4 + 0.05 * calm + 0.04 * swell
    deep = linear("#39463a") * (0.8 + 0.16 * swell)[:, None]
    view.color[rows, columns] = mix(deep, image, np.clip(share, 0, 1))


def develop(light):
    """Turn linear light into a photograph: exposure, shoulder, display curve, contrast."""
    picture = 1 - np.exp(-1.12 * np.clip(light, 0, None))
    picture = np.clip(picture / (1 - math.exp(-1.6)), 0, 1) ** (1 / 2.2)
    return mix(picture, smoothstep(0.0, 1.0, picture), np.full(picture.shape[:2], 0.75))


def add_grass(picture):
    """Grow tall grass on the near bank, in the lower right corner."""
    rng = np.random.default_rng(8)
    image = to_image(picture)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for depth in np.sort(rng.random(15000)):
        x = width * (0.56 + 0.46 * rng.random())
        rim = height * (1.06 - 0.36 * max(x / width - 0.58, 0) ** 0.7)
        y = rim + depth * (height * 1.08 - rim)
        size = height * (0.012 + 0.06 * depth) * rng.uniform(0.4, 1.4)
        lean = rng.normal(-0.2, 0.35) * size
        shade = rng.choice([0.25, 0.45, 0.7, 1.0], p=[0.3, 0.3, 0.28, 0.12])
        color = mix(rgb("#1d2513"), rgb("#a8a35a"), shade * rng.uniform(0.7, 1.0))
        points = [(x + lean * t * t, y - size * t) for t in (0, 0.35, 0.7, 1)]
        fill = tuple(int(c) for c in color * 255)
        draw.line(points, fill=fill, width=1 + int(3 * depth * rng.random()))
    return image


@functools.cache
def river_town():
    """The river town under a wide sky, as its view, without grass."""
    width, height = 512 * TOWN_SCALE, 384 * TOWN_SCALE
    noise = fractal_noise(np.random.default_rng(4), 512, 512, 1.35)
    panels = town_panels(noise)
    view = render_town(width, height, EYE_HEIGHT, panels, noise)
    mirror = render_town(width, height, -EYE_HEIGHT, panels, noise)
    add_water(view, mirror, noise)
    return view


def draw_river_town():
    """The content picture."""
    image = add_grass(develop(river_town().color)).resize((512, 384), Image.Resampling.LANCZOS)
    film_grain = np.random.default_rng(2).normal(0, 0.011, (384, 512, 1))
    return to_image(np.asarray(image) / 255.0 + film_grain)


def draw_sky_mask(of_land=False):
    """White where the content picture shows the sky, black elsewhere; or the other way round."""
    view = river_town()
    sky = (view.depth == np.inf) & (view.elevation > view.ridge)
    mask = Image.fromarray(np.uint8(255 * (sky ^ of_land)))
    return mask.resize((512, 384), Image.Resampling.BOX)


# ------------------------------------------------------------------------ the flowing strokes

WHIRLS = [(0.60, 0.17, 0.15, 0.20), (0.98, 0.30, 0.13, -0.15), (0.14, 0.14, 0.13, -0.16)]
SKY_PAINT = "#0a1436 #10255e #173a86 #1f4fa6 #3470bd #2a5aa8 #5f9ad0 #9cc4dc #e2dcae"
GLOW_PAINT = "#3d4a86 #b0562c #dd7a22 #f0982a #f7b93c #fbd866 #fdf0b4"
HILL_PAINT = "#0b1530 #14274f #1c3a66 #264a5a #2e5f74 #5a4a6a"
GRAIN_PAINT = "#1c2348 #4a2a1c #86431a #b8641c #d68a22 #e9ad35 #f4cd5c #fbe9a0"
TRACK_PAINT = "#5a3f4a #8a6a62 #b99a80 #d9c3a0"
TREE_PAINT = "#070b1c #0c1c2c #123338 #1d4a3c #3c6238 #7b8038 #c08a34"


@dataclasses.dataclass
class Coat:
    """One layer of brush strokes: where they start, how they run, and their colours by tone."""

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
    """Brush one coat onto a colour canvas and, bristle by bristle, onto a height map."""
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


# -------------------------------------------------------------------------- the angular planes

INK = (30, 23, 20)
FOCUS = np.array([400.0, 520.0])
MARGIN = 90
DIRECTIONS = (0.18, 0.95, 1.52, 2.05, 2.75)
TINTS = ["#b7832f", "#6d4a30", "#8c8a82", "#d9c9a0", "#9c4a30", "#4d5458", "#c9a262", "#3a2d26"]
STILL_LIFE = [
    ("#6d6255", "-90 -90 300 -90 220 560 -90 600"),  # wall in shade
    ("#a39b84", "300 -90 560 -90 520 430 220 560"),  # wall in light
    ("#7d4a36", "560 -90 890 -90 890 620 520 430"),  # curtain
    ("#b98b45", "-90 640 250 540 890 600 890 1120 -90 1120"),  # table
    ("#8a5f30", "-90 860 330 930 890 840 890 1120 -90 1120"),  # table edge
    ("#e2d6b6", "40 730 300 640 470 800 240 930"),  # cloth
    ("#b9b3a2", "240 930 470 800 450 900 280 1010"),  # fold of the cloth
    ("#3f4f47", "130 300 150 180 142 90 196 84 202 176 250 290 256 640 132 650"),  # bottle
    ("#d8cba4", "136 400 254 392 255 540 134 548"),  # label
    (
        "#a86a2c",
        "300 560 350 470 440 450 500 490 560 440 640 470 660 560 600 620 620 720"
        " 560 820 430 850 310 800 270 690",
    ),  # guitar
    ("#d19a4e", "340 560 380 490 440 470 480 520 440 600 470 700 430 810 330 770 300 690"),
    ("#2a1f1a", "420 600 470 580 510 610 505 660 460 690 420 660"),  # sound hole
    ("#4a3226", "455 600 650 150 690 165 505 640"),  # neck
    ("#241b18", "640 150 670 60 730 90 690 175"),  # head
    ("#a03c2a", "60 820 100 760 160 750 200 800 180 880 100 890"),  # apple
    ("#c7a23c", "160 790 200 690 240 700 290 790 260 870 190 870"),  # pear
    ("#6f7f86", "590 640 720 630 700 760 665 790 668 900 730 930 580 935 640 900 640 795 605 760"),
    ("#c9d0c6", "605 690 706 682 696 755 655 775 612 752"),  # wine
]


def still_life(width, height):
    """The hidden motif: a guitar, a bottle, fruit and a glass of wine on a table."""
    image = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), "#7c6a52")
    pen = ImageDraw.Draw(image)
    for code, points in STILL_LIFE:
        numbers = [int(number) + MARGIN for number in points.split()]
        outline = list(zip(numbers[::2], numbers[1::2], strict=True))
        pen.polygon(outline, fill=code)
        pen.line([*outline, outline[0], outline[1]], fill=INK, width=9, joint="curve")
    for shift in range(-20, 21, 8):
        string = [(420 + shift, 730 - shift // 4), (762 + shift // 2, 220)]
        pen.line(string, fill="#e9dcb8", width=2)
    return np.asarray(image) / 255.0


def cut(polygon, point, normal):
    """The part of a convex polygon on the positive side of a line."""
    kept = []
    heights = [(corner - point) @ normal for corner in polygon]
    for index, corner in enumerate(polygon):
        last, here, there = polygon[index - 1], heights[index - 1], heights[index]
        if (here > 0) != (there > 0):
            kept.append(last + (corner - last) * here / (here - there))
        if there > 0:
            kept.append(corner)
    return kept


def polygon_area(polygon):
    """Area of a polygon by the shoelace rule."""
    x, y = np.transpose(polygon)
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


def facets(polygon, rng):
    """Split a plane again and again along a few directions, finer near the picture's focus."""
    middle = np.mean(polygon, axis=0)
    limit = 7000 + 110 * max(np.linalg.norm(middle - FOCUS) - 120, 0)
    if polygon_area(polygon) < limit * rng.uniform(0.7, 1.6):
        return [polygon]
    spread = np.ptp(np.array(polygon), axis=0)
    for _ in range(12):
        angle = rng.choice(DIRECTIONS) + rng.normal(0, 0.07)
        normal = np.array([-math.sin(angle), math.cos(angle)])
        point = middle + rng.uniform(-0.16, 0.16, 2) * spread
        parts = [cut(polygon, point, normal), cut(polygon, point, -normal)]
        if min(len(part) for part in parts) < 3:
            continue
        slim = [polygon_area(part) / np.ptp(np.array(part), axis=0).max() ** 2 for part in parts]
        if min(slim) > 0.16:
            break
    return [cell for part in parts if len(part) > 2 for cell in facets(part, rng)]


def paint_facet(picture, motif, cell, noise, rng):
    """Show the motif through one facet: shifted, turned and tinted, then shaded."""
    stencil = Image.new("1", picture.shape[1::-1])
    ImageDraw.Draw(stencil).polygon([tuple(corner) for corner in cell], fill=1)
    y, x = np.nonzero(np.asarray(stencil))
    middle, turn = np.mean(cell, axis=0), rng.normal(0, 0.10)
    dx, dy = x - middle[0], y - middle[1]
    shift, zoom = middle + MARGIN + rng.normal(0, 15, 2), rng.uniform(0.85, 1.1)
    column = shift[0] + zoom * (dx * math.cos(turn) - dy * math.sin(turn))
    row = shift[1] + zoom * (dx * math.sin(turn) + dy * math.cos(turn))
    row, column = np.clip(row, 0, len(motif) - 1), np.clip(column, 0, motif.shape[1] - 1)
    color, tint = motif[row.astype(int), column.astype(int)], rgb(rng.choice(TINTS))
    color = mix(color, tint, np.full(x.shape, rng.uniform(0.08, 0.42)))
    picture[y, x] = color * facet_tone(dx, dy, noise, rng)[:, None]


def facet_tone(dx, dy, noise, rng):
    """Light on one facet: brushed along one direction, darker to one edge, sometimes hatched."""
    angle = rng.choice(DIRECTIONS)
    across = dx * math.sin(angle) - dy * math.cos(angle)
    along = dx * math.cos(angle) + dy * math.sin(angle)
    ramp = across / (np.abs(across).max() + 1)
    brush = look_up(noise, along * 0.25 + rng.uniform(0, 512), across * 2.2)
    tone = rng.uniform(0.78, 1.26) + 0.24 * ramp + 0.075 * brush
    hatched = rng.random() < 0.22
    return tone * (1 - 0.45 * (hatched & (np.mod(across + 2 * brush, 15) < 2.6) & (ramp < 0.25)))


def ink_edges(image, cell, rng):
    """Draw a facet's outline as brushed lines that swell and fade; some edges are left open."""
    pen = ImageDraw.Draw(image)
    for start, end in zip(cell, cell[1:] + cell[:1], strict=True):
        if rng.random() < 0.38:
            continue
        weight = rng.uniform(1.8, 6.0)
        for t in np.linspace(0, 1, 2 + int(np.linalg.norm(end - start) / 1.5)):
            x, y = start + (end - start) * t + rng.normal(0, 0.5, 2)
            radius = weight * (0.45 + 0.55 * math.sin(math.pi * min(t * 1.3 + 0.1, 1)))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=INK)


def draw_angular_planes():
    """The second painting: a still life broken into flat planes with dark outlines."""
    width, height = 800, 1024
    rng = np.random.default_rng(37)
    noise = fractal_noise(rng, 512, 512, 1.1)
    motif, picture = still_life(width, height), np.zeros((height, width, 3))
    frame = [np.array(corner, float) for corner in rectangle(width + 8, height + 8, 8, 8)]
    cells = facets(frame, rng)
    for cell in cells:
        paint_facet(picture, motif, cell, noise, rng)
    image = to_image(picture)
    for cell in cells:
        ink_edges(image, cell, rng)
    rows, columns = np.mgrid[0:height, 0:width]
    weave = np.sin(rows * 1.1) * np.sin(columns * 1.1) + 0.8 * look_up(noise, columns, rows)
    picture = np.asarray(image) / 255.0 * (1 + 0.035 * weave)[..., None]
    return to_image(picture).resize((400, 512), Image.Resampling.LANCZOS)


# ------------------------------------------------------------------------------ the soft washes

SHORE = 0.52
RANGES = [  # top, swing, size, seed, softness, pigment, strength
    (0.305, 0.035, 0.75, 31, 0.025, "#b9c1da", 0.75),
    (0.375, 0.032, 0.55, 58, 0.005, "#a3b6c9", 0.70),
    (0.445, 0.018, 0.40, 83, 0.004, "#9fb8b6", 0.75),
]
LAKE_TREES = [  # (x, height, spread) of each tree, then three pigments from pale to dark
    ([(0.00, 0.40, 0.11), (0.13, 0.30, 0.08), (0.25, 0.36, 0.06)], "#b4c4a0 #7f9f92 #66858c"),
    ([(0.36, 0.20, 0.07), (0.47, 0.11, 0.06)], "#b4c4a0 #7f9f92 #66858c"),
    ([(1.10, 0.10, 0.05), (1.18, 0.15, 0.06), (1.29, 0.20, 0.08)], "#cfcba0 #a3b08f #8799a0"),
]


class Paper:
    """A sheet of watercolour paper on which transparent washes darken one another."""

    def __init__(self, width, height, rng):
        rows, columns = np.mgrid[0:height, 0:width]
        self.x, self.y = columns / height, rows / height
        self.noise = fractal_noise(rng, 1024, 1024, 2.4, 8)
        self.tooth = fractal_noise(rng, 1024, 1024, 0.85)[:height, :width]
        self.grain = blur(self.tooth, (1.2, 1.2))
        self.grain /= self.grain.std()
        self.color = np.full((height, width, 3), rgb("#f7f2e6"))

    def wander(self, size, shift):
        """Smooth noise whose features are about `size` picture heights across."""
        return look_up(self.noise, self.x * 130 / size + shift, self.y * 130 / size + 3 * shift)

    def wash(self, shape, code, strength=1.0, edge=0.5, grain=0.12, flow=0.3, shift=0.0):
        """Lay a wash of one pigment where `shape` (0 to 1) is wet; its rim dries darker."""
        rim = np.clip(shape - blur(shape, (7, 7)), 0, 1) * shape
        pool = 1 + flow * np.clip(self.wander(0.5, 17 + shift), -1.6, 1.6)
        density = strength * shape * (pool + 0.4 * grain * self.grain) + edge * strength * 2.2 * rim
        absorb = -np.log(rgb(code))
        self.color *= np.exp(-np.clip(density, 0, None)[..., None] * absorb)

    def bloom(self, x, y, size, shift):
        """A shape for a backrun: a feathery patch where water pushed the pigment outwards."""
        reach = np.hypot(self.x - x, self.y - y) / size + 0.22 * self.wander(0.25, shift)
        return smoothstep(1.08, 0.96, reach)


def paint_sky_wash(paper):
    """Wet in wet: peach above the water, grey blue higher up, sun and clouds left bare."""
    y = paper.y + 0.02 * paper.wander(0.6, 5)
    cloud = smoothstep(-0.1, 0.9, paper.wander(0.75, 44) - 1.2 * (paper.y - 0.1))
    distance = np.hypot(paper.x - 0.86, paper.y - 0.20)
    sun = smoothstep(0.050, 0.042, distance + 0.002 * paper.wander(0.05, 3))
    glow = np.exp(-((distance / 0.24) ** 2))
    low = np.exp(-(((y - 0.36) / 0.15) ** 2)) * (0.45 + 0.6 * glow) * (1 - sun)
    paper.wash(low, "#f6cba8", 0.8, 0.3)
    blue = smoothstep(0.42, 0.02, y) * (1 - 0.9 * cloud) * (1 - 0.8 * glow)
    paper.wash(blue, "#a6c3d9", 0.95, 0.6, 0.2)
    paper.wash(cloud * smoothstep(0.36, 0.05, y) * (1 - glow) * 0.45, "#c2b5c8", 0.8, 0.6, 0.2, 0.6)
    water = smoothstep(0.50, 0.86, y) * (1 - 0.35 * smoothstep(0.2, 1.2, paper.wander(0.5, 13)))
    paper.wash(water, "#a9c6cf", 0.85, 0.3, 0.2)
    shine = np.exp(-(((y - 0.56) / 0.09) ** 2) - ((paper.x - 0.86) / 0.5) ** 2)
    paper.wash(shine, "#f5d2b4", 0.6, 0)


def mirrored(shape, fade):
    """A shape's reflection below the shore, smeared downwards and fading."""
    height = shape.shape[0]
    source = np.clip(round(2 * SHORE * height) - np.arange(height), 0, height - 1)
    rows = np.arange(height)[:, None] / height
    picture = shape[source] * smoothstep(SHORE - 0.005, SHORE + 0.02, rows)
    return blur(picture, (14, 3)) * np.clip(1 - (rows - SHORE) / fade, 0, 1)


def paint_hills(paper, free):
    """Ranges of hills whose feet dissolve into the mist, each nearer one stronger."""
    for top, swing, size, shift, softness, code, strength in RANGES:
        crest = top + swing * paper.wander(size, shift) + 0.004 * paper.wander(0.10, shift + 9)
        mist = smoothstep(SHORE + 0.01, top + 0.02, paper.y + 0.012 * paper.wander(0.4, shift))
        shape = smoothstep(-softness, softness, paper.y - crest) * mist * free
        paper.wash(shape, code, strength, 0.6, 0.2, 0.3, shift)
        paper.wash(mirrored(shape, 0.3), code, 0.5 * strength, 0)


def crowns(paper, rng, trees, share=1.0):
    """A clump of trees: each crown is a few ragged blobs around a stem at (x, height, spread)."""
    ragged = 0.13 * paper.wander(0.10, 12) + 0.07 * paper.wander(0.03, 3)
    shape = np.zeros_like(paper.x)
    for x, height, spread in trees:
        for rise in np.linspace(0.05, 0.92, 13):
            bulge = spread * math.sin(math.pi * (0.16 + 0.74 * rise)) ** 0.6
            center = x + bulge * rng.uniform(-0.55, 0.55), SHORE - height * rise
            size = bulge * rng.uniform(0.55, 0.8) * share
            reach = np.hypot(paper.x - center[0], (paper.y - center[1]) / 1.1) / size
            shape = np.maximum(shape, smoothstep(1.05, 0.93, reach + ragged))
    return shape * smoothstep(SHORE + 0.01, SHORE - 0.10, paper.y + 0.01 * paper.wander(0.2, 21))


def paint_groves(paper, rng, groves):
    """Trees on both shores: a pale first wash, then darker drops that bleed into it."""
    for trees, shape, codes in groves:
        paper.wash(shape, codes[0], 0.8, 0.6, 0.25, 0.3)
        drops = crowns(paper, rng, trees, 0.7) * smoothstep(-0.8, 0.6, paper.wander(0.16, 7))
        paper.wash(blur(shape * drops, (6, 6)), codes[1], 0.7, 0.6, 0.3, 0.4, 6)
        under = smoothstep(0.25, 0.48, paper.y) * smoothstep(-0.2, 0.9, paper.wander(0.2, 95))
        paper.wash(blur(shape * under, (7, 7)), codes[2], 0.6, 0.2, 0.3)
        paper.wash(mirrored(shape, 0.32), codes[1], 0.5, 0.2, 0.2)


def paint_bank(paper, rng):
    """Broken ripples, a mossy bank, reeds drawn with a loaded brush."""
    depth = np.maximum(paper.y - SHORE, 0.004)
    ripple = look_up(paper.noise, paper.x * 40 / (depth + 0.10) + 300, 420 * np.log(depth + 0.06))
    bank = paper.y - 0.95 + 0.08 * paper.x - 0.012 * paper.wander(0.4, 64)
    shape = smoothstep(-0.004, 0.004, bank)
    streaks = smoothstep(0.75, 1.15, ripple) * smoothstep(0.05, 0.14, depth) * (1 - shape)
    paper.wash(streaks, "#a3c0cc", 0.6, 0.5)
    paper.wash(shape, "#ddd0a4", 0.85, 0.7, 0.25, 0.3)
    moss = blur(shape * smoothstep(0.0, 0.9, paper.wander(0.25, 77)), (8, 8))
    paper.wash(moss, "#adb78e", 0.8, 0.5, 0.25)
    for code, count, strength in [("#cdc194", 46, 0.7), ("#9ba884", 26, 0.85)]:
        paper.wash(reeds(paper.x.shape, count, rng), code, strength, 0.5, 0.2)


def reeds(size, count, rng):
    """The shape of tall leaning blades, each one pull of the brush."""
    height, width = size
    image = Image.new("L", (width, height))
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        x = width * (1.0 - 0.40 * rng.beta(1.1, 2.2))
        length, lean = height * rng.uniform(0.10, 0.27), rng.normal(-0.10, 0.16)
        foot = height * rng.uniform(0.90, 0.97)
        for t in np.linspace(0, 1, 70):
            radius = 0.6 + 3.6 * (1 - t) ** 0.7 * min(1.0, 5 * t + 0.2)
            px, py = x + lean * length * t**1.8, foot - length * t
            pen.ellipse((px - radius, py - radius, px + radius, py + radius), fill=235)
    return blur(np.asarray(image) / 255.0, (1.0, 1.0))


def draw_soft_washes():
    """The third painting: a misty lakeside in pale, broad watercolour washes."""
    rng = np.random.default_rng(17)
    paper = Paper(1024, 768, rng)
    groves = [(trees, crowns(paper, rng, trees), codes.split()) for trees, codes in LAKE_TREES]
    free = np.prod([1 - 0.9 * shape for _, shape, _ in groves], axis=0)
    paint_sky_wash(paper)
    paint_hills(paper, free)
    paint_groves(paper, rng, groves)
    paint_bank(paper, rng)
    for x, y, size in [(0.50, 0.13, 0.10), (0.52, 0.73, 0.09)]:
        shape = paper.bloom(x, y, size, 40 * x)
        paper.wash(shape * (1 - blur(shape, (14, 14))), "#b4c5d1", 0.6, 0.3)
    down, across = np.gradient(blur(paper.tooth, (0.9, 0.9)))
    picture = paper.color * (1 + 0.035 * (down + across))[..., None]
    return to_image(picture).resize((512, 384), Image.Resampling.LANCZOS)


PICTURES = {
    "river_town": draw_river_town,
    "river_town_sky": draw_sky_mask,
    "river_town_land": functools.partial(draw_sky_mask, of_land=True),
    "flowing_strokes": draw_flowing_strokes,
    "angular_planes": draw_angular_planes,
    "soft_washes": draw_soft_washes,
}


def define_flags(values):
    """Flags of this program, which takes none of the main command's."""
    explanation = "folder that receives the pictures; made if missing"
    cli_flags.define_path("output_dir", str(DATA), explanation, values)


def make_samples(values):
    """Draw every picture and save it as a JPEG."""
    folder = Path(cli_flags.required(values, "output_dir"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"is no folder and cannot be made one ({error.strerror}); name another"
        raise errors.InputError(f"--output_dir: {folder}: {reason}") from error
    with errors.refusing(run_folder.OutputError, prefix="--output_dir: "):
        for name in PICTURES:
            run_folder.check_output(folder / f"{name}.jpg", ())
    for name, draw in PICTURES.items():
        encoded, path = io.BytesIO(), folder / f"{name}.jpg"
        draw().save(encoded, "JPEG", quality=90, optimize=True)
        try:
            files.write_atomically(path, encoded.getvalue())
        except OSError as error:
            return errors.report_unwritten(path, error, "what was drawn before it is kept")
    return 0


if __name__ == "__main__":
    console.leave(program.call(__doc__, make_samples, sys.argv, define_flags, flags.FlagValues()))
