"""The third painting: a misty lakeside in watercolor."""

import math

import numpy as np
from PIL import Image, ImageDraw
from tools import blur, fractal_noise, look_up, rgb, smoothstep, to_image

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
    """A sheet of watercolor paper on which transparent washes darken one another."""

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
    """The third painting: a misty lakeside in pale, broad watercolor washes."""
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
