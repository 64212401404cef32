"""The second painting: a still life broken into flat angular planes."""

import math

import numpy as np
from PIL import Image, ImageDraw
from tools import fractal_noise, look_up, mix, rectangle, rgb, to_image

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
    corners = []
    heights = [(corner - point) @ normal for corner in polygon]
    for index, corner in enumerate(polygon):
        last, last_height, height = polygon[index - 1], heights[index - 1], heights[index]
        if (last_height > 0) != (height > 0):
            corners.append(last + (corner - last) * last_height / (last_height - height))
        if height > 0:
            corners.append(corner)
    return corners


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
