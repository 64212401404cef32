"""The fourth painting: sailing boats before a green bank at noon, in dots of pure color."""

import numpy as np
from PIL import Image, ImageDraw
from tools import fractal_noise, look_up, mix, rgb, smoothstep, to_image

GROUND = "#f3ecd8"
PIGMENTS = (
    "#fdf6dc #f7e04a #f4b422 #ee7d2a #d8412f #c72f6d #8d4aa6 #4a45a8 #2f62c4 #3f9fdc #9fd3ee"
    " #1f8f8a #2f9a4a #8fbf3a #c9d96a #26324f #f6c9b8"
)
HORIZON = 0.40
BOATS = [  # x, waterline, height of the mast, pigment of the sail
    (0.36, 0.475, 0.245, "#fff6dd"),
    (0.74, 0.555, 0.395, "#f08a3c"),
    (1.05, 0.440, 0.150, "#fdf0e4"),
]
COATS = [  # number of dots, radius, how far a dot may stray from the color it stands for
    (9000, 6.4, 0.10),
    (26000, 4.2, 0.17),
    (15000, 3.2, 0.24),
]


def sky_and_sea(x, y, noise):
    """A hazy noon: a warm glow low in the sky, a violet coast, and a sea that glitters."""
    drift = look_up(noise, x * 120, y * 300)
    sky = mix(rgb("#fbe9b4"), rgb("#8fc6ec"), smoothstep(HORIZON, 0.02, y + 0.04 * drift))
    cloud = smoothstep(0.35, 1.3, look_up(noise, x * 90 + 40, y * 260 + 9))
    sky = mix(sky, rgb("#fdeee6"), 0.8 * cloud)
    coast = HORIZON - 0.045 - 0.022 * look_up(noise, x * 90 + 7, 0 * y) + 0.05 * np.abs(x - 0.5)
    sky = mix(sky, rgb("#8f7fc4"), smoothstep(-0.004, 0.004, y - coast))
    depth = np.clip((y - HORIZON) / (1 - HORIZON), 0, 1)
    wave = np.sin(70 * depth**0.55 + 2.2 * look_up(noise, x * 60, y * 500))
    sea = mix(rgb("#57b3d6"), rgb("#2a58b0"), np.clip(depth * 1.3 + 0.22 * wave, 0, 1))
    shine = np.exp(-(((x - 0.56) / (0.05 + 0.22 * depth)) ** 2)) * (wave > 0.1)
    sea = mix(sea, rgb("#fdf0b0"), 0.75 * shine)
    return mix(sky, sea, smoothstep(-0.002, 0.002, y - HORIZON))


def add_boat(color, x, y, boat):
    """A hull, a mainsail and a foresail with a shaded side, and their reflection."""
    center, water, mast, code = boat
    for mirrored in (False, True):
        rise = (y - water) * 1.15 / mast if mirrored else (water - y) / mast
        aside = (x - center) / mast + (0.05 * np.sin(90 * y) if mirrored else 0)
        strength = 0.55 if mirrored else 1.0
        main = (rise > 0.12) & (aside > 0) & (aside < 0.42 * (1 - rise))
        fore = (rise > 0.12) & (aside < -0.015) & (aside > -0.30 * (0.92 - rise))
        hull = (rise > 0) & (rise < 0.10) & (np.abs(aside) < 0.30 + 0.9 * rise)
        shade = np.clip(aside / (0.42 * np.maximum(1 - rise, 0.05)), 0, 1)
        sail = mix(rgb(code), rgb(code) * rgb("#c9a8d8"), shade)
        for part, paint in ((main, sail), (fore, rgb(code)), (hull, rgb("#7a2f4a"))):
            color = mix(color, paint, strength * part)
        pole = (np.abs(aside) < 0.012) & (rise > 0) & (rise < 1.02)
        color = mix(color, rgb("#4a2f58"), 0.9 * strength * pole)
    return color


def add_bank(color, x, y, noise):
    """A meadow in sun and blue shade, with poppies, and a tree whose leaves hang into the sky."""
    rim = 0.86 - 0.10 * smoothstep(0.5, 0.0, x) + 0.03 * np.sin(5 * x + 1)
    sun = smoothstep(-0.4, 0.5, look_up(noise, x * 110 + 33, y * 300 + 5))
    meadow = mix(rgb("#2f7f58"), rgb("#c6d84f"), sun)
    poppies = look_up(noise, x * 900, y * 1500) > 1.7 - 0.6 * sun
    meadow = mix(meadow, rgb("#e2452f"), 0.95 * poppies)
    color = mix(color, meadow, smoothstep(-0.004, 0.004, y - rim))
    lean = x - 0.155 - 0.06 * (0.9 - y) + 0.008 * np.sin(14 * y)
    trunk = (np.abs(lean) < 0.022 + 0.03 * smoothstep(0.75, 0.9, y)) & (y < 0.90)
    color = mix(color, mix(rgb("#c98a5a"), rgb("#4a3a78"), smoothstep(-0.02, 0.02, lean)), trunk)
    crown = 0.44 * np.exp(-((x / 0.44) ** 2)) + 0.055 * look_up(noise, x * 190 + 80, y * 190)
    gaps = look_up(noise, x * 330, y * 330 + 60) > 0.95
    leaves = (y < crown) & ~gaps
    light = smoothstep(-1.0, 1.0, look_up(noise, x * 260 + 4, y * 260) + 5 * (x - 0.2))
    return mix(color, mix(rgb("#1f6a5a"), rgb("#b7c93f"), light), leaves)


def pigment_of(color, stray, pigments, rng):
    """The index of a pure pigment for each color: often the nearest, sometimes its neighbors.

    Args:
      color: N × 3.
      stray: distance of colors at which a pigment is still likely.
      pigments: P × 3.
    """
    distance = np.linalg.norm(color[:, None] - pigments[None], axis=-1)
    luck = rng.gumbel(size=distance.shape)
    return np.argmax(luck - (distance / stray) ** 2, axis=1)


def lay_dots(pen, scene, coat, rng):
    """Set the dots of one coat: nearly round, each of one pigment, in random order."""
    count, radius, stray = coat
    height, width = scene.shape[:2]
    pigments = np.array([rgb(code) for code in PIGMENTS.split()])
    x, y = rng.uniform(0, width, count), rng.uniform(0, height, count)
    chosen = pigment_of(scene[y.astype(int), x.astype(int)], stray, pigments, rng)
    paints = np.clip(pigments[chosen] * rng.normal(1, 0.05, (count, 1)), 0, 1)
    sizes = radius * rng.uniform(0.72, 1.22, (count, 2))
    for column, row, paint, (across, down) in zip(x, y, paints, sizes, strict=True):
        fill = tuple((255 * paint).astype(int).tolist())
        pen.ellipse((column - across, row - down, column + across, row + down), fill=fill)


def draw_bright_dots():
    """The fourth painting: sailing boats at noon, in dots of pure color on a pale ground."""
    width, height = 1024, 768
    rng = np.random.default_rng(51)
    noise = fractal_noise(rng, 512, 512, 1.5)
    rows, columns = np.mgrid[0:height, 0:width]
    x, y = columns / height, rows / height
    scene = sky_and_sea(x, y, noise)
    for boat in sorted(BOATS, key=lambda boat: boat[1]):
        scene = add_boat(scene, x, y, boat)
    scene = add_bank(scene, x, y, noise)
    canvas = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(canvas)
    for coat in COATS:
        lay_dots(pen, scene, coat, rng)
    return to_image(np.asarray(canvas) / 255.0).resize((512, 384), Image.Resampling.LANCZOS)
