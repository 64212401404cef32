"""Light on solids, ray by ray: what a ray meets, the sun through a window, light of a room.

Rays are followed by the distance to the nearest solid (Hart, "Sphere tracing", 1996).
"""

import numpy as np
from solids import lengths
from tools import smoothstep

SUN = np.array([-0.62, 0.66, 0.42]) / np.linalg.norm([-0.62, 0.66, 0.42])
SUN_LIGHT = np.array([1.75, 1.50, 1.15])
ROOM_LIGHT = np.array([0.44, 0.48, 0.54])
BOUNCE = np.array([0.26, 0.18, 0.12])
FAR = 30.0


def nearest(things, points):
    """The distance from the nearest thing, and its number."""
    distances = np.stack([thing.distance_near(points) for thing in things])
    return distances.min(axis=0), distances.argmin(axis=0)


def follow(things, origins, rays, steps=110):
    """Follow rays to what they meet; gives how far away it is, and its number."""
    reach, number = np.zeros(len(rays)), np.zeros(len(rays), int)
    moving = np.arange(len(rays))
    for _ in range(steps):
        gap, number[moving] = nearest(things, origins[moving] + rays[moving] * reach[moving, None])
        reach[moving] += 0.92 * gap
        moving = moving[(gap > 0.0012 * (1 + 0.1 * reach[moving])) & (reach[moving] < FAR)]
        if not moving.size:
            break
    return reach, number


def sunlight(things, points):
    """The share of the sun that comes through the window and past the other things."""
    free, reach = through_window(points), np.full(len(points), 0.03)
    moving = np.nonzero(free > 0)[0]
    for _ in range(34):
        gap, _ = nearest(things, points[moving] + SUN * reach[moving, None])
        free[moving] = np.minimum(free[moving], 14 * gap / reach[moving])
        reach[moving] += np.clip(gap, 0.03, 0.5)
        moving = moving[(free[moving] > 0) & (reach[moving] < 5)]
    return smoothstep(0.0, 1.0, free)


def through_window(points):
    """The share of the sun that a window with a crossbar, far to the left, lets through."""
    pane = points + SUN * ((-7.0 - points[:, 0]) / SUN[0])[:, None]
    across, up = pane[:, 2] - 5.0, pane[:, 1] - 7.7
    frame = smoothstep(0.10, 0.26, np.abs(across)) * smoothstep(0.10, 0.26, np.abs(up - 0.6))
    return frame * smoothstep(3.5, 3.3, np.abs(across)) * smoothstep(2.8, 2.6, np.abs(up))


def shade(things, points, rays, number):
    """The light that comes from the points to the eye."""
    tilt = np.array([(1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)]) * 0.002
    normal, albedo, gloss = np.zeros(points.shape), np.zeros(points.shape), np.zeros(len(points))
    for index, thing in enumerate(things):
        seen = np.nonzero(number == index)[0]
        if seen.size:
            slopes = [thing.distance(points[seen] + step)[:, None] * step for step in tilt]
            normal[seen], gloss[seen] = sum(slopes), thing.gloss
            albedo[seen] = thing.color(points[seen])
    normal /= lengths(normal)[:, None] + 1e-12
    open_sky = np.ones(len(points))
    for reach in (0.04, 0.09, 0.16, 0.25):
        gap, _ = nearest(things, points + normal * reach)
        open_sky -= 0.42 * (reach - np.minimum(gap, reach)) / (reach * 2)
    open_sky = np.clip(open_sky, 0.08, 1)[:, None]
    sun = (np.clip(normal @ SUN, 0, 1) * sunlight(things, points + 0.01 * normal))[:, None]
    up = (0.5 + 0.5 * normal[:, 1])[:, None]
    from_left = (0.65 - 0.35 * normal[:, 0])[:, None]
    ambient = (ROOM_LIGHT * (0.35 + 0.65 * up) * from_left + BOUNCE * (1 - up)) * open_sky
    half = SUN - rays
    half /= lengths(half)[:, None]
    shine = np.clip(np.einsum("ij,ij->i", normal, half), 0, 1)[:, None] ** 70
    edge = (1 - np.abs(np.einsum("ij,ij->i", normal, rays)))[:, None] ** 4
    gleam = gloss[:, None] * (3.0 * shine * np.minimum(3 * sun, 1) + 0.35 * edge * open_sky)
    return albedo * (SUN_LIGHT * sun + ambient) + gleam * np.array([1.0, 0.96, 0.88])
