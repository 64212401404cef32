"""What the panels of the town are painted with: walls, roofs, stone, railings, leaves.

A painter is a function (u, v) → (colors in linear light, which points to keep).
"""

import numpy as np
from tools import hashed, linear, look_up, mix, smoothstep
from view import SKY_LIGHT, SUN_LIGHT

STOREY = 2.75


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
    """Set glass, glazing bars, frames, shutters and sills into a wall's colors."""
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
        across = np.mod(u, span) - span / 2
        return color, (across / (span / 2 - pier)) ** 2 + (v / rise) ** 2 > 1

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
