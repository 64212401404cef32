"""The fifth painting: a moonlit mountain valley, cut in wood and printed in black."""

import numpy as np
from PIL import Image
from tools import blur, fractal_noise, look_up, mix, rgb, smoothstep, to_image

PAPER, INK = "#efe5cf", "#191410"
MOON = (0.53, 0.20, 0.085)  # x, y and radius
RANGES = [  # height of the crest, swing, roughness of it, where in the noise
    (0.44, 0.150, 0.016, 11),
    (0.56, 0.110, 0.014, 47),
    (0.65, 0.050, 0.010, 83),
]
PINES = [  # x of the trunk, foot, height
    (0.045, 0.97, 0.44),
    (0.135, 0.92, 0.30),
    (0.735, 0.98, 0.50),
    (0.660, 0.93, 0.31),
    (0.215, 0.86, 0.17),
    (0.585, 0.86, 0.18),
]


class Block:
    """A block of wood: cuts are white, what is left prints black.

    Attributes:
      x, y: position of each point in heights of the picture, from the upper left corner.
      dark: share of ink, H × W, 0 to 1, of which `cut` makes lines.
    """

    def __init__(self, width, height, rng):
        rows, columns = np.mgrid[0:height, 0:width]
        self.x, self.y = columns / height, rows / height
        self.noise = fractal_noise(rng, 512, 512, 1.5)
        self.ink = np.zeros((height, width))

    def wander(self, size, shift):
        """Smooth noise whose features are about `size` picture heights across."""
        return look_up(self.noise, self.x * 60 / size + shift, self.y * 60 / size + 3 * shift)

    def cut(self, shape, along, spacing, dark):
        """Print a shape in parallel lines.

        Args:
          shape: where, H × W, true or false.
          along: a field that is constant along each line.
          spacing: distance of the lines in units of that field.
          dark: share of ink in each place, from 0 to 1.
        """
        hand = 0.22 * self.wander(0.10, 29) + 0.10 * self.wander(0.02, 5)
        phase = np.abs(np.mod(along / spacing + hand, 1.0) - 0.5) * 2
        pressure = dark + 0.10 * self.wander(0.03, 61)
        self.ink = np.where(shape, smoothstep(-0.16, 0.16, pressure - phase), self.ink)


def crest(block, height, swing, rough, shift):
    """The height of a range of mountains over x, with steep peaks."""
    far = look_up(block.noise, block.x * 62 + shift, 0 * block.x + shift)
    near = look_up(block.noise, block.x * 420 + shift, 0 * block.x + 2 * shift)
    return height - swing * (1.0 - 1.5 * np.abs(far)) - rough * near


def cut_sky(block):
    """The moon, left bare, in rings of light that widen into night; stars are single cuts."""
    x, y, radius = MOON
    reach = np.hypot(block.x - x, block.y - y)
    turn = np.arctan2(block.y - y, block.x - x)
    dark = 0.22 + 0.72 * smoothstep(radius, 0.62, reach + 0.02 * np.sin(9 * turn))
    clouds = smoothstep(0.15, 0.8, look_up(block.noise, block.x * 70 + 90, block.y * 330 + 20))
    dark = dark * (1 - 0.42 * clouds * smoothstep(0.05, 0.2, block.y))
    block.cut(reach > 0, reach, 0.0165, dark)
    block.ink[reach < radius + 0.006] = 0.0
    rim = np.abs(reach - radius - 0.006) < 0.0022
    block.ink[rim] = 1.0


def cut_mountains(block):
    """Ranges of mountains: the side to the moon in thin lines, the other side nearly black."""
    for index, (height, swing, rough, shift) in enumerate(RANGES):
        top = crest(block, height, swing, rough, shift)
        shape = block.y > top
        slope = np.gradient(blur(top, (1.0, 5.0)), axis=1) * block.y.shape[0]
        lit = np.sign(MOON[0] - block.x) * -slope
        ridges = look_up(block.noise, block.x * 420 + shift, (block.y - top) * 110 + 2 * shift)
        dark = 0.46 - 0.34 * np.tanh(1.2 * lit) + 0.22 * ridges + 0.7 * (block.y - top)
        fall = block.x + np.where(slope > 0, 1, -1) * 0.55 * (block.y - top) + 0.02 * ridges
        block.cut(shape, fall, 0.0125 + 0.001 * index, np.clip(dark, 0.12, 0.97))
        block.ink[np.abs(block.y - top) < 0.0026] = 1.0


def cut_valley(block):
    """Furrowed fields and a winding path to a bright lake in the middle of the valley."""
    shore = 0.695 + 0.012 * np.sin(9 * block.x)
    ground = block.y > shore
    depth = np.clip((block.y - shore) / (1 - shore), 0, 1)
    hump = 0.055 * np.sin(6.5 * block.x + 0.6) + 0.012 * block.wander(0.2, 9)
    furrow = np.log(0.10 + depth + hump * depth)
    block.cut(ground, furrow, 0.085, 0.50 + 0.26 * block.wander(0.22, 71) + 0.12 * depth)
    lake = np.hypot((block.x - 0.43) / 0.20, (block.y - 0.735) / 0.036) < 1 + 0.05 * np.sin(
        40 * block.x
    )
    ripple = block.y + 0.002 * np.sin(60 * block.x)
    shine = np.exp(-(((block.x - MOON[0] + 0.06) / 0.07) ** 2))
    block.cut(lake, ripple, 0.0085, 0.50 - 0.5 * shine)
    middle = 0.40 + 0.085 * np.sin(7.5 * depth**0.7 + 0.6) + 0.02
    path = ground & ~lake & (np.abs(block.x - middle) < 0.010 + 0.075 * depth**1.4) & (depth > 0.2)
    block.cut(path, depth - 0.8 * (block.x - middle) ** 2, 0.09, 0.16 + 0 * depth)


def cut_pines(block):
    """Black pines whose boughs are opened by short curved cuts on the side to the moon."""
    for x, foot, tall in sorted(PINES, key=lambda pine: pine[1]):
        rise = np.clip((foot - block.y) / tall, -1, 1)
        tier = np.mod(rise * 8.5, 1.0)
        half = 0.30 * tall * (1 - rise) ** 0.85 * (0.50 + 0.50 * (1 - tier))
        aside = block.x - x + 0.004 * block.wander(0.03, 40)
        boughs = (rise > 0.10) & (rise < 1) & (np.abs(aside) < half)
        trunk = (np.abs(aside) < 0.018 * tall) & (rise > -0.02) & (rise < 0.14)
        side = np.sign(MOON[0] - x) * aside / np.maximum(half, 1e-3)
        droop = rise + 0.55 * np.abs(aside) / tall
        halo = (rise > 0.08) & (rise < 1) & (np.abs(aside) < half + 0.005)
        block.ink[halo] = 0.0
        block.cut(boughs, droop, 0.030, 1.02 - 0.62 * smoothstep(0.05, 0.9, side))
        outline = boughs & (np.abs(aside) > half - 0.0035)
        block.ink[outline | trunk] = 1.0


def printed(block, rng):
    """The print: ink that lies unevenly, the grain of the wood, and a bare, ragged margin."""
    height, width = block.ink.shape
    grain = look_up(block.noise, block.x * 22 + 3, block.y * 900)
    ink = blur(block.ink, (1.1, 1.1))
    ink = smoothstep(0.36, 0.62, ink + 0.025 * grain)
    speck = fractal_noise(rng, height, width, 0.7) > 2.75
    edge = np.minimum.reduce([block.x, width / height - block.x, block.y, 1 - block.y])
    ink = (
        ink * (1 - 0.8 * speck) * smoothstep(0.0155, 0.0185, edge + 0.0012 * block.wander(0.05, 1))
    )
    tint = rgb(PAPER) * (1 + 0.012 * block.wander(0.03, 15))[..., None]
    return mix(tint, rgb(INK), ink * (0.96 + 0.03 * np.clip(grain, -1, 1)))


def draw_carved_lines():
    """The fifth painting: a moonlit mountain valley, cut in wood and printed in black."""
    rng = np.random.default_rng(64)
    block = Block(800, 1024, rng)
    cut_sky(block)
    cut_mountains(block)
    cut_valley(block)
    cut_pines(block)
    return to_image(printed(block, rng)).resize((400, 512), Image.Resampling.LANCZOS)
