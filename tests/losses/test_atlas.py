"""Panoramas as the network looks at them, and the loss of a transfer between them."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.rounding import unit

from gatys_norm import sphere
from gatys_norm.config import TransferConfig
from gatys_norm.images.inputs import ResizedInputs
from gatys_norm.losses import atlas, objective, parametrization
from gatys_norm.network import vgg
from gatys_norm.network.memory import WHOLE, Strips

pytestmark = pytest.mark.numeric

WIDTH = 64
SHAPE = WIDTH // 2, WIDTH, 3
CONFIG = TransferConfig(
    projection="equirectangular",
    lambda_os=0.3,
    content_layers=("conv2_1", "relu1_2"),
    style_layers=("conv1_2", "conv2_2"),
    size=(WIDTH,),
).resolved()


def noise(shape, seed):
    return np.random.default_rng(seed).uniform(0, 255, shape)


CONTENT, RESULT, STYLE = noise(SHAPE, 1), noise(SHAPE, 2), noise((30, 41, 3), 3)
HALF = np.repeat([[1.0], [0.0]], [8, 8], axis=0).repeat(32, axis=1).astype(np.float32)  # the north


@pytest.fixture(scope="module")
def extractor(small_model):
    layers = frozenset(CONFIG.content_layers + CONFIG.style_layers)
    return vgg.Extractor(
        small_model, layers, compute_dtype=tf.float64, border=CONFIG.network_border
    )


def built(extractor, inputs=None, strips=WHOLE, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    inputs = inputs or ResizedInputs(CONTENT, (STYLE,) * len(config.style))
    return objective.build_objective(config, extractor, inputs, strips)


# --- the atlas ----------------------------------------------------------------------------------


def test_an_atlas_is_made_as_the_matrix_says():
    pixel, source, weight = sphere.taps(WIDTH)
    seen = atlas.atlas_of(RESULT).numpy()
    quarter = WIDTH // 4
    for part in range(4):
        flat = np.roll(RESULT, -part * quarter, axis=1).reshape(-1, 3)[source]
        expected = [np.bincount(pixel, weight * values) for values in flat.T]
        cut = seen[:, part * seen.shape[1] // 4 :][:, : seen.shape[1] // 4]
        np.testing.assert_allclose(cut.reshape(-1, 3), np.transpose(expected), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_turned_panorama_has_the_same_atlas_moved_by_a_quarter(dtype):
    panorama = RESULT.astype(dtype)
    seen = atlas.atlas_of(panorama).numpy()
    turned = atlas.atlas_of(np.roll(panorama, WIDTH // 4, axis=1)).numpy()
    np.testing.assert_array_equal(turned, np.roll(seen, seen.shape[1] // 4, axis=1))


def test_the_gradient_is_the_transpose_and_the_same_every_time():
    panorama = tf.constant(RESULT)

    @tf.function
    def gradient(upstream):
        with tf.GradientTape() as tape:
            tape.watch(panorama)
            seen = atlas.atlas_of(panorama)
        return tape.gradient(seen, panorama, upstream)

    upstream = noise((*sphere.atlas_shape(WIDTH), 3), 4)
    results = [gradient(tf.constant(upstream)).numpy() for _ in range(3)]
    seen = atlas.atlas_of(panorama).numpy()
    np.testing.assert_allclose((results[0] * RESULT).sum(), (upstream * seen).sum(), rtol=1e-12)
    assert len({result.tobytes() for result in results}) == 1


def test_a_flat_picture_is_looked_at_itself():
    picture = tf.constant(RESULT)
    assert atlas.view_of(picture, "flat") is picture
    assert atlas.view_shape(SHAPE, "flat") == SHAPE[:2]
    seen = atlas.view_of(picture, "equirectangular")
    assert tuple(seen.shape[:2]) == atlas.view_shape(SHAPE, "equirectangular")


def test_what_is_seen_of_noise_is_smooth_next_to_the_poles_and_keeps_the_rest():
    panorama = noise((64, 128, 3), 5).astype(np.float32)
    seen = atlas.as_seen(panorama)
    assert seen.shape == panorama.shape
    assert seen.dtype == np.float32
    spread = seen.std(axis=(1, 2)) / panorama.std()
    assert spread[[0, -1]].max() < 0.15
    assert spread[32] > 0.4
    assert abs(seen.mean() - panorama.mean()) < 2
    np.testing.assert_allclose(atlas.as_seen(np.full_like(seen, 30)), 30, rtol=1e-5)


def test_weights_of_a_layer_are_means_and_a_region_is_a_part_of_them():
    whole = atlas.weights_at("conv3_1", WIDTH)
    height, around = sphere.atlas_shape(WIDTH)
    assert whole.shape == (height // 4, around // 4)
    assert whole.sum() == pytest.approx(sphere.position_count(WIDTH, 2), rel=1e-5)
    north = atlas.weights_at("conv3_1", WIDTH, atlas.region_of(HALF, WIDTH))
    south = atlas.weights_at("conv3_1", WIDTH, atlas.region_of(1 - HALF, WIDTH))
    np.testing.assert_allclose(north + south, whole, atol=4 * unit("float32"))
    assert north.sum() == pytest.approx(whole.sum() / 2, rel=1e-3)
    np.testing.assert_allclose(north, south[::-1], atol=4 * unit("float32"))


# --- the loss -----------------------------------------------------------------------------------


def features_seen(extractor, picture):
    return {name: value.numpy() for name, value in extractor(atlas.atlas_of(picture)).items()}


@pytest.mark.parametrize(
    ("loss", "strips"),
    [("normalized", WHOLE), ("original", WHOLE), ("normalized", Strips(rows=96, kept=1))],
)
def test_terms_are_sums_over_the_sphere(extractor, loss, strips):
    posed = built(extractor, loss=loss, strips=strips)
    position = posed.position(RESULT)
    terms, image = posed.terms(position), posed.image(position).numpy()
    content, result = (features_seen(extractor, picture) for picture in (CONTENT, image))
    for layer in CONFIG.content_layers:
        weights = atlas.weights_at(layer, WIDTH)[..., np.newaxis]
        expected = (weights * np.square(content[layer] - result[layer])).sum()
        assert terms[f"content/{layer}"] == pytest.approx(expected, rel=1e-6)
        energy = float(tf.reduce_sum(tf.square(posed.targets[f"content/{layer}"])))
        assert energy == pytest.approx((weights * np.square(content[layer])).sum(), rel=1e-6)
    style = {name: value.numpy() for name, value in extractor(tf.constant(STYLE)).items()}
    for layer in CONFIG.style_layers:
        weights = atlas.weights_at(layer, WIDTH)[..., np.newaxis]
        flat, of_style = (
            values.reshape(-1, values.shape[-1])
            for values in (np.sqrt(weights) * result[layer], style[layer])
        )
        scale = sphere.position_count(WIDTH, int(layer[4]) - 1) / len(of_style)
        target = of_style.T @ of_style * scale
        expected = np.square(flat.T @ flat - target).sum()
        assert terms[f"style/{layer}"] == pytest.approx(expected, rel=1e-6)
        if loss == "original":
            count = sphere.position_count(WIDTH, int(layer[4]) - 1) * flat.shape[1]
            coefficient = posed.coefficients[f"style/{layer}"]
            assert coefficient == pytest.approx(0.2 / (2 * count) ** 2, rel=1e-5)


@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_a_turned_panorama_has_the_same_loss_and_the_gradient_turned(extractor, kind):
    posed = built(extractor, parametrization=kind)
    turned = built(
        extractor,
        ResizedInputs(np.roll(CONTENT, WIDTH // 4, axis=1), (STYLE,)),
        parametrization=kind,
    )
    results = []
    for goal, picture in ((posed, RESULT), (turned, np.roll(RESULT, WIDTH // 4, axis=1))):
        value, gradient = goal.value_and_gradient(goal.position(picture))
        change = parametrization.to_image(gradient, SHAPE, kind, projection=goal.projection)
        results.append((float(value), change.numpy()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-10)
    back = np.roll(results[1][1], -WIDTH // 4, axis=1)
    np.testing.assert_allclose(back, results[0][1], atol=1e-10 * np.abs(back).max())


def test_every_pixel_is_moved_and_what_is_seen_of_it_as_fast_at_the_poles(extractor):
    posed = built(extractor)
    position = posed.position(RESULT)
    gradient = posed.value_and_gradient(position)[1]
    change = posed.image(gradient).numpy()
    assert (change != 0).all()
    rows = np.sqrt(np.square(change).mean(axis=(1, 2)))
    assert 0.2 < rows[[0, -1]].min() / np.median(rows) < rows.max() / np.median(rows) < 5


def test_an_image_loses_no_more_than_rays_next_to_the_poles(extractor):
    posed = built(extractor)
    image = posed.image(posed.position(RESULT)).numpy()
    again = posed.image(posed.position(image)).numpy()
    is_band = np.isinf(sphere.waves_around(WIDTH))
    assert 0.3 < is_band.mean() < 0.5
    np.testing.assert_allclose(image[is_band], RESULT[is_band], atol=1e-10)
    np.testing.assert_allclose(image.mean(axis=1), RESULT.mean(axis=1), atol=1e-10)
    assert image[[0, -1]].std(axis=1).max() < RESULT.std() / 2
    # What it keeps it keeps: waves that are weakened are few.
    assert np.sqrt(np.square(again - image).mean()) < 0.1 * RESULT.std()
    spectrum = np.abs(np.fft.rfft(image, axis=1)).sum(axis=2)
    for row, waves in enumerate(sphere.waves_around(WIDTH)):
        if np.isfinite(waves):
            assert spectrum[row, math.ceil(1.25 * waves) :].sum() < 1e-9 * spectrum[row].sum()


def test_masks_lie_on_the_sphere(extractor):
    masks = HALF, 1 - HALF
    inputs = ResizedInputs(CONTENT, (STYLE, STYLE), masks)
    posed = built(extractor, inputs, style=("a.jpg", "b.jpg"), style_blend=(1.0, 1.0))
    alone = built(extractor)
    for layer in CONFIG.style_layers:
        north, south = (posed.targets[f"style[{name}]/{layer}"].numpy() for name in "ab")
        whole = alone.targets[f"style/{layer}"].numpy()
        np.testing.assert_allclose(north + south, whole, rtol=1e-5)
        np.testing.assert_allclose(north, whole / 2, rtol=1e-2)


def test_a_picture_unrelated_to_the_content_is_compared_on_the_sphere(extractor):
    posed = built(extractor)
    style = {name: value.numpy() for name, value in extractor(tf.constant(STYLE)).items()}
    content = features_seen(extractor, CONTENT)
    for layer in CONFIG.content_layers:
        of_style = style[layer].reshape(-1, style[layer].shape[-1])
        flat = content[layer].reshape(-1, of_style.shape[1])
        distances = (
            np.square(flat).sum(1)
            + np.square(of_style).sum(1).mean()
            - 2 * flat @ of_style.mean(axis=0)
        )
        expected = (atlas.weights_at(layer, WIDTH).ravel() * distances).sum()
        assert posed.unrelated_distances[f"content/{layer}"] == pytest.approx(expected, rel=1e-5)


def test_the_total_variation_goes_around_the_sphere(extractor):
    posed = built(extractor, tv_weight=1.0)
    turned = np.roll(RESULT, 5, axis=1)
    before, after = (
        posed.terms(posed.position(picture))["total_variation"] for picture in (RESULT, turned)
    )
    assert before == pytest.approx(after, rel=1e-10)


def test_weights_count_pixels_of_the_surface():
    assert objective.pixel_count(CONFIG, SHAPE[:2]) == round(64**2 / math.pi)
    assert objective.pixel_count(TransferConfig(), SHAPE[:2]) == 32 * 64
