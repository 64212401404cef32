"""The cells of a sheet: every combination once, each with a name of its own."""

import dataclasses

import pytest

from gatys_norm.config import ConfigError, TransferConfig
from gatys_norm.experiments import explore as exploration

BASE = TransferConfig(content="x.png", style="x.png", size=(64,), iterations=(7,), color="match")


def sheet(contents=("a.png",), styles=("b.png",), base=BASE, **values):
    return exploration.cells(base, contents, styles, exploration.values_of_axes(base, values))


def test_every_combination_is_a_cell_in_order():
    cells = sheet(
        ("in/town.jpg", "sea.png"), ("waves.jpg",), lambda_os=(1e-2, 1e-3), stroke_size=(0.5, 2.0)
    )
    assert [tuple(cell.labels.values()) for cell in cells] == [
        (content, "waves", lambda_os, stroke_size)
        for content in ("town", "sea")
        for lambda_os in (1e-2, 1e-3)
        for stroke_size in (0.5, 2.0)
    ]
    assert list(cells[0].labels) == ["content", "style", "λ_os", "stroke size"]
    for cell in cells:
        changed = {
            "content": {"town": "in/town.jpg", "sea": "sea.png"}[cell.labels["content"]],
            "style": ("waves.jpg",),
            "lambda_os": cell.labels["λ_os"],
            "stroke_size": cell.labels["stroke size"],
        }
        assert cell.config == dataclasses.replace(BASE, **changed)
    assert cells[1].name == "town_waves_normalized_lambda_os-0.01_stroke_size-2_64"


@pytest.mark.parametrize("loss", ["normalized", "original"])
def test_without_values_lambda_os_goes_around_the_default_of_the_loss(loss):
    cells = sheet(base=dataclasses.replace(BASE, loss=loss))
    default = BASE.resolved().lambda_os if loss == "normalized" else 1e-4
    found = [cell.config.lambda_os for cell in cells]
    assert found == pytest.approx([10 * default, default, default / 10])
    assert {cell.config.stroke_size for cell in cells} == {BASE.stroke_size}
    assert cells[1].name == f"a_b_{loss}_lambda_os-{default:g}_64"


def test_a_value_given_twice_is_one_cell():
    assert len(sheet(lambda_os=(1.0, 1.0, 2.0))) == 2


def test_a_value_of_none_is_left_to_the_other_settings():
    values = {"lambda_os": (None,), "stroke_size": (2.0,)}
    (cell,) = exploration.cells(BASE, ["a.png"], ["b.png"], values)
    assert cell.config.lambda_os is None
    assert list(cell.labels) == ["content", "style", "stroke size"]
    assert cell.name == "a_b_normalized_stroke_size-2_64"


def test_strengths_take_the_place_of_weights():
    values = exploration.values_of_axes(BASE, {"strength": (0.3, 0.7)})
    assert (values["strength"], values["lambda_os"]) == ((0.3, 0.7), (None,))
    cells = exploration.cells(BASE, ["town.jpg"], ["waves.jpg"], values)
    assert [cell.labels["strength"] for cell in cells] == [0.3, 0.7]
    assert cells[1].name == "town_waves_normalized_strength-0.7_64"


def test_a_value_out_of_range_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"^lambda_os: "):
        sheet(lambda_os=(1.0, -1.0))


def test_no_two_cells_have_one_name():
    contents = ("1/a.png", "2/a.png", "2/A.jpg", "a_b.png", "a-2.png")
    cells = sheet(contents, ("c.png", "b_c.png"), lambda_os=(1.0, 1.0 + 1e-9))
    names = [cell.name.casefold() for cell in cells]
    assert len(set(names)) == len(cells) == 20
    assert len({cell.labels["content"].casefold() for cell in cells}) == 5


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b c;d'\"$(e).tar.jpg", "b_c_d_e_.tar"),
        ("Gärten/λ 夜.png", "λ_夜"),
        ("\udcff.png", "_"),
        (f"{'é' * 200}.png", "é" * 30),
        (f"x{'é' * 200}.png", "x" + "é" * 29),
    ],
)
def test_names_are_safe_in_every_file_system(path, name):
    assert exploration.picture_name(path) == name


def test_longest_names_leave_room_for_the_suffix():
    long = "夜" * 300
    cells = sheet((f"{long}.png",) * 1, (f"{long}.png",), lambda_os=(1.23456e-10,))
    assert len(f".{cells[0].name}.json.lock".encode()) < 256


@pytest.mark.parametrize(
    ("sizes", "iterations", "size", "expected"),
    [
        ((192,), (600,), 1024, ((1024,), (600,))),
        ((192,), (600,), 64, ((64,), (600,))),
        ((96, 192), (600,), 1024, ((96, 1024), (600,))),
        ((96, 192), (50, 20), 1024, ((96, 1024), (50, 20))),
        ((96, 192), (50, 20), 96, ((96,), (20,))),
        ((96, 144, 192), (50, 30, 20), 100, ((96, 100), (50, 20))),
    ],
)
def test_full_size_replaces_the_last_size(sizes, iterations, size, expected):
    config = dataclasses.replace(BASE, size=sizes, iterations=iterations)
    full = exploration.at_full_size(config, size)
    assert (full.size, full.iterations) == expected
    assert dataclasses.replace(full, size=sizes, iterations=iterations) == config


def test_measures_are_means_over_layers_and_seconds():
    record: dict[str, dict] = {
        "metrics": {
            "content_distance": {"conv4_2": 0.5},
            "style_distance": {"conv1_1": 9.0},
            "style_reflection": {"conv1_1": 0.5, "conv2_1": 1.0},
            "strength": 0.7,
        },
        "timing": {"seconds": 12.5, "seconds_per_evaluation": 1.0},
    }
    measures = exploration.measures_of(record)
    assert measures == {
        "content distance": 0.5,
        "mean style reflection": 0.75,
        "strength": 0.7,
        "seconds": 12.5,
    }
    record["metrics"]["style_reflection"]["conv2_1"] = None
    del record["metrics"]["strength"]  # as in the record of an older version
    measures = exploration.measures_of(record)
    assert measures["mean style reflection"] is measures["strength"] is None
