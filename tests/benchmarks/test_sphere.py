"""The benchmark of panoramas as a program, its measures, and what its tables say."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import report as benchmark_report
import sphere
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import small_config

from gatys_norm import transfer
from gatys_norm.config import PROJECTIONS
from gatys_norm.images import io as picture_io


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(sphere, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style=a.png"], "--style: is not taken here; see --styles"),
        (["--content=a.png"], "--content: is not taken here; the benchmark draws it"),
        (["--projection=flat"], "--projection: is not taken here"),
        (["--styles="], "--styles: is needed"),
        (["--size=63"], "--size: must be 64 or more"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, sphere, flags, words)


def panorama(colors_of, height=96):
    """Draw a function of (east, north, up)."""
    latitude = math.pi * (0.5 - (np.arange(height) + 0.5) / height)[:, np.newaxis]
    longitude = math.pi * (np.arange(2 * height) + 0.5) / height
    flat = np.cos(latitude)
    up = np.sin(latitude) + 0 * longitude
    return colors_of(np.stack([flat * np.sin(longitude), flat * np.cos(longitude), up], axis=-1))


def test_directions_are_looked_up_and_views_face_them():
    picture = panorama(lambda directions: directions)
    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # Linear between pixels of π / 96, of functions whose second derivatives are at most 1; at the
    # poles up to half a pixel is left out.
    np.testing.assert_allclose(sphere.look_up(picture, directions), directions, atol=0.02)
    for forward, up in (((0, 1, 0), (0, 0, 1)), ((0, 0, 1), (0, -1, 0)), ((1, 0, 0), (0, 0, 1))):
        seen = sphere.view(picture, forward, up, 32)
        assert seen.shape == (32, 32, 3)
        np.testing.assert_allclose(seen[15:17, 15:17].mean(axis=(0, 1)), forward, atol=0.02)
        top = np.add(forward, up) / math.sqrt(2)
        np.testing.assert_allclose(seen[0, 15:17].mean(axis=0), top, atol=0.04)
        right = np.add(forward, np.cross(forward, up)) / math.sqrt(2)
        np.testing.assert_allclose(seen[15:17, -1].mean(axis=0), right, atol=0.04)


def test_edges_lie_where_they_are_said_to():
    cube = sphere.cube_edges(9)
    assert len(cube) == 12
    charts = sphere.chart_edges(9)
    assert len(charts) == 10
    for places, normals in [*cube, *charts, sphere.meridian(0, -1.4, 1.4, 9)]:
        np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
        np.testing.assert_allclose((places * normals).sum(axis=1), 0, atol=1e-12)
    for places, _ in cube:  # two coordinates are equally large there, and no other is larger
        largest = np.sort(np.abs(places), axis=1)
        np.testing.assert_allclose(largest[:, 1], largest[:, 2])
    sides, _ = sphere.meridian(0, -1.4, 1.4, 9)
    np.testing.assert_allclose(sides[:, 0], 0, atol=1e-12)
    assert (sides[:, 1] > 0).all()


def test_a_smooth_panorama_has_no_jump_and_one_that_ends_at_its_sides_has():
    waves = np.random.default_rng(1).normal(0, 3, (3, 8))
    smooth = panorama(lambda directions: np.sin(directions @ waves)[..., :3])
    for name, edges in sphere.JUMPS.items():
        assert sphere.jump(smooth, edges(200)) == pytest.approx(1, abs=0.1), name
    columns = np.arange(192.0)[np.newaxis, :, np.newaxis] * np.ones((96, 192, 3))
    assert sphere.jump(columns, sphere.JUMPS["jump_sides"](200)) > 10


def test_strokes_that_are_pinched_at_the_poles_have_a_higher_frequency_there():
    random = np.random.default_rng(2)
    waves = random.normal(size=(3, 300))
    waves *= 25 / np.linalg.norm(waves, axis=0)
    phases = random.uniform(0, 2 * math.pi, 300)
    even = panorama(
        lambda directions: np.repeat(
            100 + 10 * np.sin(directions @ waves + phases).sum(axis=-1, keepdims=True), 3, axis=-1
        )
    )
    assert sphere.polar_frequency(even) == pytest.approx(1, abs=0.1)
    rows, columns = np.indices((96, 192))
    pinched = np.sin(2 * math.pi * columns / 16) + np.sin(2 * math.pi * rows / 16)
    assert sphere.polar_frequency(100 + 50 * np.stack([pinched] * 3, axis=-1)) > 1.2
    assert math.isnan(sphere.polar_frequency(np.zeros((96, 192, 3))))


def test_a_flat_picture_has_as_many_pixels_as_six_faces(tmp_path):
    drawn = sphere.draw(128, tmp_path)
    flat, panorama, turned = (
        picture_io.load_picture(drawn[kind]) for kind in ("flat", "panorama", "turned")
    )
    assert flat.shape == (64, 96, 3)
    assert panorama.shape == (64, 128, 3)
    np.testing.assert_array_equal(np.roll(turned, -32, axis=1), panorama)


def facts_of(subject, projection, jump):
    return {
        "style": "waves",
        "subject": subject,
        "projection": projection,
        **dict.fromkeys(sphere.JUMPS, jump),
        "frequency": 1.02,
    }


@pytest.mark.parametrize(("jump", "verb"), [(1.02, "is within"), (1.1, "is not within")])
def test_tables_say_which_goals_are_reached(monkeypatch, jump, verb):
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    transfers = [facts_of(*kind, jump) for kind in itertools.product(sphere.SUBJECTS, PROJECTIONS)]
    styles = [{"style": "waves", "turned": 1.5, "time": 1.4}]
    settings = {"size": [1024], "iterations": [200]}
    report = {"machine": {}, "settings": settings, "transfers": transfers, "styles": styles}
    tables = sphere.tables(report)
    assert "Size 1024, 200 iterations; styles: waves." in tables
    assert f"| texture | flat | {jump:.2f} ({jump:.2f}–{jump:.2f}) |" in tables
    assert f"{jump:.3f} of those next to them, which {verb} 0.95 to 1.05" in tables
    assert "1.02 of that around, which is within 10 %" in tables
    assert "differ by 1.50 grey levels at most, which is not at most 1." in tables
    assert "1.40 times as long as that of a flat picture with as many pixels" in tables


@pytest.mark.usefixtures("eagerly", "small_network")
def test_transfers_leave_their_facts_and_are_not_computed_twice(tmp_path, monkeypatch):
    base = small_config(tmp_path, iterations=(1,), size=(64,)).resolved()
    drawn = sphere.draw(64, tmp_path)
    measured = sphere.measure([base], drawn, tmp_path / "runs")
    kinds = [(facts["subject"], facts["projection"]) for facts in measured["transfers"]]
    assert kinds == list(itertools.product(sphere.SUBJECTS, PROJECTIONS))
    [style] = measured["styles"]
    assert style["turned"] < 0.5
    assert style["time"] > 0
    monkeypatch.setattr(transfer, "Transfer", lambda *_: pytest.fail("it went to work"))
    assert sphere.measure([base], drawn, tmp_path / "runs") == measured
    picture = sphere.sheet(measured["transfers"])
    assert picture.shape[1] > 4 * sphere.CELL_WIDTH
    assert picture.std() > 10


def test_settings_of_each_transfer(tmp_path):
    base = small_config(tmp_path, size=(128,))
    configs = sphere.configs_of(base, {"panorama": "p", "turned": "t", "flat": "f"})
    assert configs["turned"] == dataclasses.replace(
        configs["picture", "equirectangular"], content="t"
    )
    assert configs["flat"].size == (96,)
    assert configs["flat"].projection == "flat"
