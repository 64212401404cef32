"""The second content picture: things on a kitchen table by a window, drawn like a photograph."""

import math

import numpy as np
from PIL import Image
from rays import follow, shade
from solids import Thing, ball, box, lengths, ring, together, turned
from tools import fractal_noise, hashed, linear, look_up, mix, smoothstep, to_image
from town import develop

EYE, TARGET = np.array([0.0, 3.1, 8.2]), np.array([0.0, 0.80, 0.0])
FOCAL = 2.95
JUG = "0 0 .50 0 .70 .32 .73 .68 .56 1.15 .40 1.48 .47 1.78 .42 1.78 .34 1.48 .50 1.1 .66 .68"
JUG += " .62 .36 .44 .08 0 .08"
BOWL = "0 0 .42 0 .46 .07 .88 .42 1.02 .62 .96 .62 .80 .45 .40 .15 0 .13"


def plain(code):
    """One color all over."""
    return lambda points: np.broadcast_to(linear(code), points.shape)


def glazed(stripes):
    """Cream glaze with painted stripes: (height, half width, code) of each."""

    def color(points):
        tone = np.broadcast_to(linear("#ece3cf"), points.shape)
        for height, half, code in stripes:
            wobble = 0.012 * np.sin(9 * np.arctan2(points[:, 2], points[:, 0] + 1.2))
            band = np.abs(points[:, 1] - height + wobble) < half
            tone = mix(tone, linear(code), 0.9 * band)
        return tone

    return color


def peel(code, blush, noise):
    """Skin of a fruit: flecks, and a blush that is turned to the sun."""

    def color(points):
        x, y, z = points.T
        fleck = look_up(noise, 90 * x + 40 * z, 90 * y + 30 * z)
        cheek = smoothstep(-1.9, 0.9, look_up(noise, 16 * x + 9 * z, 6 * y) - 0.6 * np.sin(5 * x))
        return mix(linear(code), linear(blush), cheek) * (1 + 0.10 * fleck)[:, None]

    return color


def crust(noise):
    """A floured loaf with four cuts."""

    def color(points):
        x, y, z = points.T
        flour = smoothstep(0.0, 1.6, look_up(noise, 40 * x, 40 * z + 30 * y) + 3 * (y - 0.35))
        cut = np.abs(np.mod(x * 2.6 + 0.9 * z, 0.62) - 0.31) < 0.055
        brown = mix(linear("#a9672f"), linear("#ead9bd"), 0.75 * flour)
        return mix(brown, linear("#f0d9a8"), 0.9 * (cut & (y > 0.28)))

    return color


def book(code, middle, turn):
    """Cloth on the covers and the back, paper between them."""

    def color(points):
        x, y, z = (points - middle).T
        front = z * math.cos(turn) - x * math.sin(turn)
        paper = (np.abs(y) < 0.085) & (front > -0.46)
        leaves = (0.85 + 0.10 * np.sin(260 * y))[:, None] * linear("#e6dcc4")
        return np.where(paper[:, None], leaves, linear(code))

    return color


def cloth_and_table(noise):
    """A wooden table with a checked cloth on it."""

    def color(points):
        x, _, z = points.T
        plank = np.floor(z / 0.62)
        grain = look_up(noise, 6 * x + 60 * plank, 70 * z + 4 * np.sin(1.4 * x + plank))
        wood = linear("#8f5f38") * (0.82 + 0.30 * hashed(plank, plank) + 0.16 * grain)[:, None]
        wood = wood * (1 - 0.6 * (np.abs(np.mod(z, 0.62) - 0.31) > 0.297))[:, None]
        u, v = (x - 0.35) * 0.87 + (z - 0.55) * 0.5, (z - 0.55) * 0.87 - (x - 0.35) * 0.5
        checks = (np.mod(u, 0.36) < 0.18).astype(float) + (np.mod(v, 0.36) < 0.18)
        weave = 1 + 0.05 * np.sin(160 * u) * np.sin(160 * v)
        linen = mix(linear("#f1ebdd"), linear("#3f6aa8"), 0.45 * checks) * weave[:, None]
        return np.where((np.maximum(np.abs(u), np.abs(v)) < 1.62)[:, None], linen, wood)

    return color


def plaster(noise):
    """An old wall, warm white, with stains."""

    def color(points):
        x, y, _ = points.T
        stain = look_up(noise, 30 * x, 30 * y) + 0.5 * look_up(noise, 150 * x, 150 * y)
        return linear("#c9b99a") * (1 + 0.07 * stain)[:, None]

    return color


def outline_of(text):
    """Corners of an outline, from their numbers."""
    numbers = [float(number) for number in text.split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def things_on_the_table(noise):
    """A jug, a bowl with fruit, a pear, a lemon, a loaf and two books, a table and a wall."""
    jug, bowl = np.array([-1.25, 0.0, -0.55]), np.array([0.62, 0.0, 0.10])
    handle = ring(np.add(jug, [-0.66, 1.02, 0.0]), 0.36, 0.072)
    jug_color = glazed([(0.86, 0.10, "#2f5aa0"), (0.66, 0.02, "#2f5aa0"), (1.74, 0.05, "#2f5aa0")])
    things = [
        Thing(lambda points: points[:, 1], cloth_and_table(noise), np.zeros(3), math.inf, 0.04),
        Thing(lambda points: points[:, 2] + 2.3, plaster(noise), np.zeros(3), math.inf, 0.0),
        Thing(
            together(turned(outline_of(JUG), jug), handle),
            jug_color,
            np.add(jug, [0, 0.9, 0]),
            1.5,
            0.5,
        ),
        Thing(
            turned(outline_of(BOWL), bowl), plain("#b4552f"), np.add(bowl, [0, 0.3, 0]), 1.15, 0.35
        ),
    ]
    orange, apple = peel("#e8801f", "#f0962f", noise), peel("#c8562a", "#8a1210", noise)
    for offset, size, skin in [
        ((-0.36, 0.58, 0.16), 0.34, orange),
        ((0.34, 0.56, 0.22), 0.33, apple),
        ((0.04, 0.56, -0.38), 0.35, orange),
        ((0.02, 0.96, 0.02), 0.33, apple),
    ]:
        things.append(fruit(bowl + offset, size, skin))
    pear = np.array([-0.62, 0.0, 1.25])
    body = together(
        ball(np.add(pear, [0, 0.34, 0]), 0.35),
        ball(np.add(pear, [0.03, 0.70, 0]), 0.22, (1, 1.5, 1)),
        ball(np.add(pear, [0.07, 1.06, 0]), 0.022, (1, 5, 1)),
    )
    things.append(
        Thing(body, peel("#a9b23c", "#c9a83f", noise), np.add(pear, [0, 0.55, 0]), 0.75, 0.2)
    )
    things.append(
        fruit(np.array([1.95, 0.25, 1.15]), 0.26, peel("#efcf2a", "#f3dd55", noise), 1.35)
    )
    loaf = np.array([-2.15, 0.30, 0.75])
    things.append(Thing(ball(loaf, 0.62, (1.35, 0.62, 0.8)), crust(noise), loaf, 0.9, 0.02))
    for height, turn, code in [(0.14, 0.35, "#7a2430"), (0.42, 0.62, "#2f5f4a")]:
        middle = np.array([2.15, height, -1.05])
        shape = box(middle, (0.80, 0.13, 0.52), turn)
        things.append(Thing(shape, book(code, middle, turn), middle, 1.05, 0.05))
    return things


def fruit(middle, size, skin, longer=1.0):
    """An orange or an apple; a lemon if longer."""
    return Thing(ball(middle, size, (longer, 1.0, 1.0)), skin, middle, size * longer + 0.05, 0.3)


def draw_kitchen_table():
    """The second content picture: things on a kitchen table by a window."""
    width, height = 1024, 768
    noise = fractal_noise(np.random.default_rng(91), 512, 512, 1.35)
    things = things_on_the_table(noise)
    forward = (TARGET - EYE) / np.linalg.norm(TARGET - EYE)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rows, columns = np.mgrid[0:height, 0:width]
    across, down = (columns - width / 2) / height * 2, (rows - height / 2) / height * 2
    light = np.zeros((height, width, 3))
    for top in range(0, height, 64):
        part = slice(top, top + 64)
        rays = (
            FOCAL * forward
            + across[part, :, None] * right
            - down[part, :, None] * np.cross(right, forward)
        ).reshape(-1, 3)
        rays /= lengths(rays)[:, None]
        reach, number = follow(things, np.broadcast_to(EYE, rays.shape), rays)
        light[part] = shade(things, EYE + rays * reach[:, None], rays, number).reshape(-1, width, 3)
    image = to_image(develop(light)).resize((512, 384), Image.Resampling.LANCZOS)
    film_grain = np.random.default_rng(92).normal(0, 0.011, (384, 512, 1))
    return to_image(np.asarray(image) / 255.0 + film_grain)
