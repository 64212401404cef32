"""The terms that compare a frame of a film with earlier ones."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from helpers.strips import LOW_STRIPS, without_graphs

from gatys_norm.config import LOSSES, TransferConfig
from gatys_norm.images.inputs import FilmFrame, ResizedInputs, Warped
from gatys_norm.losses import functional, objective
from gatys_norm.losses.coefficients import temporal_coefficients
from gatys_norm.network import vgg
from gatys_norm.network.memory import WHOLE
from gatys_norm.network.vgg import feature_size

CONFIG = TransferConfig(
    content_layers=("conv2_1",), style_layers=("conv1_2", "conv2_2"), lambda_os=0.3
).resolved()
HEIGHT, WIDTH = 8, 6
RANDOM = np.random.default_rng(0)
CONTENT, STYLE, RESULT, BEFORE, LONG_BEFORE = RANDOM.uniform(0, 255, (5, HEIGHT, WIDTH, 3))
MASK, LONG_MASK = RANDOM.uniform(0, 1, (2, HEIGHT, WIDTH))
WARPED = {1: Warped(BEFORE, MASK), 4: Warped(LONG_BEFORE, LONG_MASK)}
WEIGHT = 30.0
# The same terms, but nothing to compare with: as for the first frame of a shot.
NOTHING = {distance: Warped(0 * BEFORE, 0 * MASK) for distance in WARPED}


@pytest.fixture(scope="module")
def extractor(small_model):
    layers = CONFIG.content_layers + CONFIG.style_layers
    return vgg.Extractor(small_model, layers, compute_dtype=tf.float64)


def pose(extractor, warped=WARPED, energies=None, config=CONFIG, strips=WHOLE):
    frame = None if warped is None else FilmFrame(WEIGHT, warped, energies or {})
    inputs = ResizedInputs(CONTENT, (STYLE,), frame=frame)
    return objective.build_objective(config, extractor, inputs, strips)


def flat(image):
    return tf.constant(image.reshape(-1))


def relative(warped, picture):
    """Σ m ‖x − warped‖² / Σ m ‖warped‖²."""
    mask = warped.mask[..., np.newaxis]
    return (mask * (picture - warped.picture) ** 2).sum() / (mask * warped.picture**2).sum()


def test_masked_energy_sums_what_the_mask_shows():
    values, mask = np.arange(24.0).reshape(2, 4, 3), np.eye(2, 4)
    expected = sum((values[index, index] ** 2).sum() for index in range(2))
    assert float(functional.masked_energy(values, mask)) == expected


@pytest.mark.parametrize("loss", LOSSES)
def test_each_term_is_the_relative_squared_distance_from_the_warped_frame(extractor, loss):
    """Times the loss of a picture without features, as style terms are relative as well."""
    with_film = pose(extractor, config=dataclasses.replace(CONFIG, loss=loss))
    without = pose(extractor, None, config=dataclasses.replace(CONFIG, loss=loss))
    terms = with_film.terms(flat(RESULT))
    assert set(terms) - set(without.coefficients) == {"temporal/1", "temporal/4"}
    scale = sum(
        coefficient * (without.targets[name].numpy() ** 2).sum()
        for name, coefficient in without.coefficients.items()
        if name.startswith("style/")
    )
    if loss == "normalized":
        assert scale == pytest.approx(HEIGHT * WIDTH)
    for distance, warped in WARPED.items():
        name = f"temporal/{distance}"
        assert with_film.coefficients[name] * terms[name] == pytest.approx(
            scale * WEIGHT * relative(warped, RESULT)
        )
    for name, coefficient in without.coefficients.items():
        assert with_film.coefficients[name] == coefficient


def test_original_loss_with_the_weights_of_the_normalized_one_has_the_same_temporal_terms(
    extractor,
):
    """Relative to the others: the original loss, with weights that make its style terms equal."""
    normalized = pose(extractor)
    energies = [
        (normalized.targets[f"style/{layer}"].numpy() ** 2).sum() for layer in CONFIG.style_layers
    ]
    sizes = [
        np.prod(feature_size(layer, HEIGHT, WIDTH)) * normalized.targets[f"style/{layer}"].shape[0]
        for layer in CONFIG.style_layers
    ]
    weights = tuple(
        (2 * float(size)) ** 2 / energy for size, energy in zip(sizes, energies, strict=True)
    )
    config = dataclasses.replace(CONFIG, loss="original", style_weights=weights)
    original = pose(extractor, config=config)
    for name in ("style/conv2_2", "temporal/1", "temporal/4"):
        first = "style/conv1_2"
        assert original.coefficients[name] / original.coefficients[first] == pytest.approx(
            normalized.coefficients[name] / normalized.coefficients[first]
        )


def test_its_meaning_does_not_depend_on_size_or_exposure(extractor):
    """The term over w, or S, of the same pictures four times as large, or half as bright."""

    def value(scale, side):
        warped, picture = (
            np.kron(scale * image, np.ones((side, side, 1))) for image in (BEFORE, RESULT)
        )
        mask = np.kron(MASK, np.ones((side, side)))
        energy = float(functional.masked_energy(warped, mask))
        pixel_count = side**2 * HEIGHT * WIDTH
        coefficient = temporal_coefficients(WEIGHT, {"temporal/1": energy}, pixel_count)[
            "temporal/1"
        ]
        distance = float(functional.masked_energy(picture - warped, mask))
        return coefficient * distance / pixel_count

    assert value(1, 2) == pytest.approx(value(1, 1))
    assert value(0.5, 1) == pytest.approx(value(1, 1))


def test_gradient_is_that_of_the_sum(extractor):
    with_film, without = pose(extractor), pose(extractor, None)
    _, gradient = with_film.value_and_gradient(flat(RESULT))
    _, gradient_without = without.value_and_gradient(flat(RESULT))
    expected = without.unit * gradient_without.numpy()
    for distance, warped in WARPED.items():
        slope = 2 * warped.mask[..., np.newaxis] * (RESULT - warped.picture)
        expected = expected + with_film.coefficients[f"temporal/{distance}"] * slope.reshape(-1)
    np.testing.assert_allclose(with_film.unit * gradient.numpy(), expected, rtol=1e-9)
    by_term = with_film.gradients(flat(RESULT))
    np.testing.assert_allclose(sum(by_term.values()), gradient, rtol=1e-9)


def test_nothing_to_compare_with_changes_no_bit(extractor):
    position = flat(RESULT)
    value, gradient = pose(extractor, NOTHING).value_and_gradient(position)
    value_alone, gradient_alone = pose(extractor, None).value_and_gradient(position)
    assert float(value) == float(value_alone)
    np.testing.assert_array_equal(gradient, gradient_alone)


def test_all_frames_share_one_graph(small_model):
    layers = CONFIG.content_layers + CONFIG.style_layers
    extractor = vgg.Extractor(small_model, layers, compute_dtype=tf.float64)
    first, later = pose(extractor, NOTHING), pose(extractor, energies={"conv2_1": 5.0})
    values = [float(posed.value_and_gradient(flat(RESULT))[0]) for posed in (first, later)]
    assert values[0] != values[1]
    assert first.function is later.function
    assert first.function.experimental_get_tracing_count() == 1


def test_content_energy_may_be_that_of_the_shot(extractor):
    alone, shot = pose(extractor), pose(extractor, energies={"conv2_1": 1e5})
    energy = float(functional.energy(alone.targets["content/conv2_1"]))
    assert shot.coefficients["content/conv2_1"] * 1e5 == pytest.approx(
        alone.coefficients["content/conv2_1"] * energy
    )
    others = set(alone.coefficients) - {"content/conv2_1"}
    assert all(shot.coefficients[term] == alone.coefficients[term] for term in others)


def test_strips_give_the_same_terms(extractor):
    whole = pose(extractor)
    with without_graphs():
        strips = pose(extractor, strips=LOW_STRIPS)
        expected, terms = whole.terms(flat(RESULT)), strips.terms(flat(RESULT))
        gradients = [posed.value_and_gradient(flat(RESULT))[1] for posed in (whole, strips)]
    assert terms == pytest.approx(expected)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6, atol=1e-9)


def test_corrected_targets_leave_the_term_as_it_is(extractor):
    exact = pose(extractor)
    corrected = objective.with_corrected_targets(exact, exact, flat(RESULT))
    assert corrected.terms(flat(RESULT)) == pytest.approx(exact.terms(flat(RESULT)))
