"""The sixth painting: a window of colored glass in lead, with a sunflower above waves."""

import math

import numpy as np
from PIL import Image
from tools import blur, fractal_noise, look_up, mix, rgb, smoothstep, to_image

CENTER, RADIUS = (400.0, 330.0), 235.0  # of the flower, in pixels
LEAD = 4.6  # half the width of a lead, in pixels
RINGS = [  # radius as a share, number of pieces, turn, pigments
    (0.00, 1, 0.0, "#7a3a12"),
    (0.17, 7, 0.0, "#8a4416 #5a2a10 #a3561c"),
    (0.34, 12, 0.5, "#c9701a #b3591a #d98a22"),
    (0.56, 16, 0.0, "#f2b01e #f6c52e #e89a18"),
    (0.80, 16, 0.5, "#f9d548 #fbe27a #f4b92a"),
    (1.04, 24, 0.0, "#2347a8 #2f5fc4 #1d3a8a"),
]
SKY = "#2a5cc0 #3f7fd8 #5aa0e6 #1f479c #6a4fb4 #7fc0ea"
LEAF = "#1f7a3a #2f9a48 #146032 #6fb040 #a3c94a"
WATER = "#0f5f86 #1583a0 #2aa8b8 #0b4470 #4cc4c4 #103a6a"
BORDER = "#a31f2a #c22f2f #7f1626 #d8562f #a31f2a"


def seeds_of(rng, width, height):
    """The middle of each piece of glass and its pigment: rings of a flower, leaves, sky, waves."""
    points, codes = [], []

    def add(x, y, pigments):
        points.append((x, y))
        codes.append(rng.choice(pigments.split()))

    for share, count, turn, pigments in RINGS:
        for index in range(count):
            angle = 2 * math.pi * (index + turn) / count + rng.normal(0, 0.02)
            reach = RADIUS * share * rng.uniform(0.98, 1.02)
            add(CENTER[0] + reach * math.cos(angle), CENTER[1] + reach * math.sin(angle), pigments)
    edge = 34
    for y in np.arange(edge + 40, height - edge, 64):
        for x in np.arange(edge + 40, width - edge, 64):
            x_there, y_there = x + rng.uniform(-20, 20), y + rng.uniform(-20, 20)
            if math.hypot(x_there - CENTER[0], y_there - CENTER[1]) < RADIUS * 1.19:
                continue
            add(x_there, y_there, pigments_at(x_there, y_there, height))
    for along in np.arange(edge / 2, height, 74):
        add(edge / 2, along, BORDER)
        add(width - edge / 2, along + 30, BORDER)
    for along in np.arange(edge / 2 + 60, width - edge, 74):
        add(along, edge / 2, BORDER)
        add(along + 20, height - edge / 2, BORDER)
    return np.array(points), np.array([rgb(code) for code in codes])


def pigments_at(x, y, height):
    """Which glass lies in a place outside the flower."""
    if y > 0.76 * height + 34 * math.sin(x / 92):
        return WATER
    return LEAF if y > 0.52 * height and abs(x - CENTER[0]) < 0.55 * (y - 380) else SKY


def pieces(points, width, height, noise):
    """The piece that each pixel belongs to, and its distance from the next piece, in pixels.

    Edges bend a little, as glass is cut by hand. Waves flow, so the pieces of water are wide.
    """
    rows, columns = np.mgrid[0:height, 0:width].astype(float)
    bend = look_up(noise, columns * 0.09, rows * 0.09), look_up(noise, rows * 0.09, columns * 0.09)
    rows, columns = rows + 7 * bend[0], columns + 7 * bend[1]
    first = np.full((height, width), np.inf)
    second = first.copy()
    owner = np.zeros((height, width), int)
    nearest = np.zeros((2, height, width))
    following = np.zeros((2, height, width))
    for index, (x, y) in enumerate(points):
        flat = 1.7 if y > 740 and 40 < x < width - 40 else 1.0
        distance = (columns - x) ** 2 / flat + (rows - y) ** 2 * flat
        closer, between = distance < first, (distance >= first) & (distance < second)
        second = np.where(closer, first, np.where(between, distance, second))
        following = np.where(closer, nearest, following)
        following[0][between], following[1][between] = x, y
        nearest[0][closer], nearest[1][closer] = x, y
        first, owner = np.where(closer, distance, first), np.where(closer, index, owner)
    apart = np.hypot(*(nearest - following)) + 1e-9
    return owner, (second - first) / (2 * apart)


def light_through(color, owner, edge, noise, rng):
    """Daylight through each piece: its own depth of color, streaks, bubbles, soot at the lead."""
    height, width = owner.shape
    rows, columns = np.mgrid[0:height, 0:width]
    count = owner.max() + 1
    turn, depth = rng.uniform(0, math.pi, count)[owner], rng.uniform(0.72, 1.45, count)[owner]
    along = columns * np.cos(turn) + rows * np.sin(turn)
    across = rows * np.cos(turn) - columns * np.sin(turn)
    streak = look_up(noise, along * 0.12 + 40 * turn, across * 0.9)
    bubbles = fractal_noise(rng, height, width, 0.9) > 2.6
    thickness = depth * (1 + 0.16 * streak) + 0.5 * np.exp(-edge / 9)
    glow = np.exp(-(((columns - CENTER[0]) / 520) ** 2) - ((rows - CENTER[1] + 40) / 640) ** 2)
    light = (0.80 + 0.42 * glow)[..., None] * np.clip(color[owner], 0.02, 1) ** thickness[..., None]
    return mix(light, np.ones(3), 0.28 * blur(bubbles.astype(float), (1.2, 1.2)))


def draw_leaded_glass():
    """The sixth painting: a sunflower above waves, in pieces of colored glass held by lead."""
    width, height = 800, 1024
    rng = np.random.default_rng(73)
    noise = fractal_noise(rng, 512, 512, 1.4)
    points, color = seeds_of(rng, width, height)
    owner, edge = pieces(points, width, height, noise)
    picture = light_through(color, owner, edge, noise, rng)
    lead = smoothstep(
        LEAD + 1.2, LEAD - 1.2, edge + 0.7 * look_up(noise, *np.mgrid[0:height, 0:width])
    )
    round_lead = np.clip(1 - (edge / LEAD) ** 2, 0, 1)
    down, across = np.gradient(blur(round_lead, (1.2, 1.2)))
    metal = rgb("#1c1d20") * (1 + 3.5 * np.clip(down + across, -0.2, 0.6))[..., None]
    picture = mix(picture, metal, lead)
    return to_image(picture).resize((400, 512), Image.Resampling.LANCZOS)
