"""Independent measures of a result: their ends, their order, and the file that keeps them."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.altered import blurred, shuffled
from helpers.programs import ROOT

from gatys_norm.config import TransferConfig
from gatys_norm.experiments import statistics
from gatys_norm.experiments.measures import hed, independent, style_vectors
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize

SIZE = 48
CONTENT_MEASURES = ("edge_coherence", "structural_similarity", "gradient_correlation")
STYLE_MEASURES = ("style_vector_reflection", "other_layers_reflection", "edge_network_reflection")


@pytest.fixture(scope="module", autouse=True)
def _networks_loaded():
    """Load the networks once, before the first test."""
    grey = np.full((16, 16, 3), 128.0, np.float32)
    hed.outputs(grey)
    style_vectors.style_vector(grey)


@pytest.fixture
def config(monkeypatch, small_network, eagerly):
    """Settings with two samples, at a small size and in a small network."""
    monkeypatch.setattr(independent, "OTHER_LAYERS", ("relu1_1", "relu2_1"))
    independent._references.cache_clear()
    yield TransferConfig(
        content=str(ROOT / "data" / "river_town.jpg"),
        style=str(ROOT / "data" / "flowing_strokes.jpg"),
        size=(SIZE,),
        content_layers=("conv2_2",),
        style_layers=("conv1_2", "conv2_1"),
    ).resolved()
    independent._references.cache_clear()


@pytest.fixture
def pictures(config):
    """Content and style as in the transfer."""
    inputs = picture_inputs.resized(config, picture_inputs.load(config), SIZE)
    return inputs.content, inputs.styles[0]


def means(measures):
    return {name: statistics.mean_over_layers(measures, name) for name in measures}


def test_the_content_is_itself_and_reflects_nothing_of_the_style(config, pictures):
    measures = independent.measure(config, pictures[0])
    assert set(measures) == set(statistics.INDEPENDENT) == {*CONTENT_MEASURES, *STYLE_MEASURES}
    for name, value in means(measures).items():
        assert value == pytest.approx(float(name in CONTENT_MEASURES), abs=1e-4), name
    assert list(measures["other_layers_reflection"]) == ["relu1_1", "relu2_1"]


def test_the_style_reflects_all_of_itself(config, pictures, tmp_path):
    """A style in the shape of the content, so that it can be a result."""
    content, style = pictures
    path = tmp_path / "style.png"
    picture_io.save_picture(path, resize(style, *content.shape[:2]))
    config = dataclasses.replace(config, style=str(path))
    measures = independent.measure(config, picture_io.load_picture(path))
    for name in STYLE_MEASURES:
        assert measures[name]
        assert set(measures[name].values()) == {1.0}
    for name in CONTENT_MEASURES:
        assert statistics.mean_over_layers(measures, name) < 0.7


def test_content_measures_fall_with_blur_and_with_shuffled_patches(config, pictures):
    content = pictures[0]
    side = 8
    whole = np.copy(content)
    patches = shuffled(content, side)
    whole[: patches.shape[0], : patches.shape[1]] = patches
    blurry, apart = (
        means(independent.measure(config, picture)) for picture in (blurred(content, 0.7), whole)
    )
    for name in CONTENT_MEASURES:
        assert 1 > blurry[name] > apart[name] + 0.1, name


def test_layers_of_the_loss_are_left_out(config, pictures, monkeypatch):
    monkeypatch.setattr(independent, "OTHER_LAYERS", ("relu1_1", "conv1_2", "conv2_1"))
    measures = independent.measure(config, pictures[0])
    assert list(measures["other_layers_reflection"]) == ["relu1_1"]


def test_the_same_picture_as_content_and_style_has_no_reflection(config):
    config = TransferConfig(**(config.as_dict() | {"style": config.content})).resolved()
    inputs = picture_inputs.resized(config, picture_inputs.load(config), SIZE)
    measures = independent.measure(config, inputs.content)
    assert measures["style_vector_reflection"] == {"predictor": None}
    assert set(measures["edge_network_reflection"].values()) == {None}


def test_a_result_is_measured_once(config, pictures, tmp_path, monkeypatch):
    output = tmp_path / "result.png"
    picture_io.save_picture(output, pictures[1])
    kept = tmp_path / "result.measures.json"
    calls = []

    def measure(config, picture):
        calls.append(picture.shape)
        return {"edge_coherence": {"hed": 0.5}}

    monkeypatch.setattr(independent, "measure", measure)
    first = independent.of_result(config, output)
    assert independent.of_result(config, output) == first == {"edge_coherence": {"hed": 0.5}}
    assert len(calls) == 1
    for damaged in ("", "[]", "{", '{"key": 1, "measures": {}}', '"text"'):
        kept.write_text(damaged)
        assert independent.of_result(config, output) == first
    assert len(calls) == 6
    picture_io.save_picture(output, pictures[0])
    independent.of_result(config, output)
    assert len(calls) == 7
    monkeypatch.setattr(independent, "VERSION", [2])
    independent.of_result(config, output)
    assert len(calls) == 8
    assert json.loads(kept.read_text())["measures"] == first
    assert {path.name for path in tmp_path.iterdir()} == {"result.png", "result.measures.json"}
