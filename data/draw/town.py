"""The content picture, a river town under a wide sky, and its masks."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw
from surfaces import STOREY, foliage, ground, masonry, railing, stucco, tiles
from tools import blur, fractal_noise, linear, look_up, mix, rectangle, rgb, smoothstep, to_image
from view import HAZE, UP, Panel, View

TOWN_SCALE = 3
QUAY = 2.6
EYE_HEIGHT = 6.5
HILLS = [  # height, swing, color, haze
    (0.115, 0.022, "#6f8fb0", 0.72),
    (0.085, 0.020, "#52705f", 0.55),
    (0.052, 0.015, "#4a6a3c", 0.34),
]
PLASTERS = ["#e8d9b8", "#e3c48e", "#d9a87c", "#efe9dc", "#c9d0c4", "#e0b9a4", "#d8c79a", "#cfa35f"]
TRIMS = ["#4f6b52", "#6b4a3a", "#54687c", "#7d3b34", "#8b8d80"]
ROOFS = ["#96604c", "#875243", "#9c6a50", "#7b5448", "#6f5047"]
LEAVES = ["#4e6b2c", "#5f7a33", "#71802f", "#436030"]


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


def tree(rng, foot, height, code, noise, slender=0.36):
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
    return Panel(foot - half * across, across, UP, rectangle(2 * half, height), paint, lit=False)


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


def church(corner, along, noise):
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
    panels = gabled_block(corner, along, (5.2, 5.2, 30.0, 0.2), lambda *_: tower_wall, stone)
    outward = np.cross(UP, along)
    apex = corner + along * 2.6 - outward * 2.6 + UP * 43
    corner = corner - 5.2 * outward + UP * 30
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
