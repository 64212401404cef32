"""Colors, noise and smooth steps that every picture is drawn with.

A picture is a float array H × W × 3, RGB, 0–1; a field is a float array H × W.
"""

import math

import numpy as np
from PIL import Image


def rgb(code):
    """Turn "#rrggbb" into three floats in [0, 1]."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def linear(code):
    """Turn "#rrggbb" into linear light, for the ray-traced picture."""
    return rgb(code) ** 2.2


def mix(first, second, weight):
    """Blend two colors or color fields; `weight` (a field) is the share of the second."""
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


def rectangle(width, height, margin=0.0, drop=0.0):
    """Outline of a rectangle, widened by `margin` on both sides and by `drop` below."""
    return [(-margin, -drop), (width + margin, -drop), (width + margin, height), (-margin, height)]
