"""The search for the λ_os of a strength, on the small network; and the steps of its method."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from helpers.small_transfers import noise, objective_at, small_config
from helpers.transfers import run_transfer

from gatys_norm import strength_search, transfer
from gatys_norm.config import LOSSES
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import FilmFrame
from gatys_norm.network import vgg
from gatys_norm.runs import schedule

pytestmark = [pytest.mark.numeric]
small = pytest.mark.usefixtures("eagerly", "small_network", "few_iterations")


def curve(logarithm):
    """A strength that falls from 1 to 0, as those of real pictures do."""
    return 1 / (1 + 10 ** (0.5 * logarithm))


@pytest.mark.parametrize("target", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_steps_come_near_to_every_strength_in_few_probes(target):
    probes = [(-1.0, curve(-1.0))]
    while abs(probes[-1][1] - target) > strength_search.TOLERANCE:
        logarithm = strength_search.next_logarithm(probes, target)
        probes.append((logarithm, curve(logarithm)))
    assert len(probes) <= strength_search.MAX_PROBES
    refined = strength_search.next_logarithm(probes, target)
    assert abs(curve(refined) - target) <= abs(probes[-1][1] - target)


def test_steps_stay_in_bounds():
    least, most = strength_search.RANGE
    assert strength_search.next_logarithm([(least + 0.1, 0.2)], 1.0) == least
    assert strength_search.next_logarithm([(most - 0.1, 0.9)], 0.0) == most


def test_a_curve_that_rises_does_not_turn_the_step_around():
    probes = [(-1.0, 0.6), (-1.5, 0.58)]
    assert strength_search.next_logarithm(probes, 0.7) < -1.5


def test_a_strength_that_falls_like_one_over_n_is_foreseen_exactly():
    end, overshoot = 0.5, 4.0
    strengths = {n: end + overshoot / n for n in (40, 80, 130, 600)}
    measured = strength_search.overshoot((40, strengths[40]), (80, strengths[80]))
    assert measured == pytest.approx(overshoot)
    apart = strength_search.overshoot((80, strengths[80]), (130, strengths[130]))
    assert apart == pytest.approx(overshoot)
    for made, last in ((80, 600), (130, 600), (80, 40)):
        foreseen = strength_search.strength_at(last, made, strengths[made], measured)
        assert foreseen == pytest.approx(strengths[last])


def test_a_strength_that_rises_has_no_overshoot():
    assert strength_search.overshoot((60, 0.8), (120, 0.9)) == 0


@pytest.mark.parametrize("iterations", [0, 80])
def test_a_strength_that_does_not_fall_is_taken_as_it_is(iterations):
    assert strength_search.strength_at(600, iterations, 0.3, 0.0) == 0.3


def test_no_strength_below_zero_is_foreseen():
    assert strength_search.strength_at(600, 80, 0.01, 4.0) == 0


@small
@pytest.mark.parametrize(("iterations", "last"), [((600,), 600), ((2,), 6), ((200, 100), 300)])
def test_probes_speak_of_the_end_of_the_transfer(search, monkeypatch, iterations, last):
    """Of a transfer with few iterations: of the end of the first half of the first probe."""
    strengths = iter([0.32, 0.3, 0.28])  # halfway, after the first probe, after the second
    monkeypatch.setattr(strength_search._Proxy, "_strength", lambda *_: next(strengths))
    monkeypatch.setattr(strength_search, "MAX_PROBES", 2)
    monkeypatch.setattr(strength_search, "TOLERANCE", 0)
    size = tuple(range(24, 24 + len(iterations)))
    found = search(strength=0.29, iterations=iterations, size=size)
    expected = [0.3 - 0.24 * (1 / 12 - 1 / last), 0.28 - 0.24 * (1 / 18 - 1 / last)]
    assert [probe["strength"] for probe in found["probes"]] == pytest.approx(expected)


PROBED = {
    "target": 0.5,
    "lambda_os": 0.02,
    "probes": [{"lambda_os": 0.1, "strength": 0.4}, {"lambda_os": 0.01, "strength": 0.6}],
    "overshoot": 12.0,
    "correction": None,
    "proxy_size": 192,
    "seconds": 3.0,
}


def test_the_weight_is_corrected_by_how_fast_the_strength_falls():
    """By 0.2 per decade; 0.48 after 200 of 600 iterations ends at 0.48 − 12 (1/200 − 1/600)."""
    found = strength_search.corrected(PROBED, 200, 600, 0.48, 90.0)
    assert found["lambda_os"] == pytest.approx(0.02 * 10 ** (-0.06 / 0.2))
    assert found["correction"] == {
        "iteration": 200,
        "strength": 0.48,
        "expected": pytest.approx(0.44),
        "lambda_os": found["lambda_os"],
    }
    assert {**found, "lambda_os": 0.02, "correction": None} == PROBED


def test_where_the_probes_still_rise_the_transfer_itself_tells_how_it_falls():
    """0.48 after 200 of 600 iterations ends at 0.48 − 9 (1/200 − 1/600)."""
    rising = PROBED | {"overshoot": 0.0}
    found = strength_search.corrected(rising, 200, 600, 0.48, 9.0)
    assert found["correction"]["expected"] == pytest.approx(0.45)
    assert found["lambda_os"] == pytest.approx(0.02 * 10 ** (-0.05 / strength_search.FALL))


def test_a_strength_that_is_right_changes_nothing():
    found = strength_search.corrected(PROBED, 200, 600, 0.54, 0.0)
    assert found["lambda_os"] == pytest.approx(0.02)


@pytest.mark.parametrize(("strength", "factor"), [(0.0, 0.1), (5.0, 10.0)])
def test_a_correction_stays_in_bounds(strength, factor):
    found = strength_search.corrected(PROBED, 200, 200, strength, 0.0)
    assert found["lambda_os"] == pytest.approx(0.02 * factor)


def test_a_strength_that_is_not_defined_corrects_nothing():
    assert strength_search.corrected(PROBED, 200, 600, math.nan, 0.0) == PROBED


@pytest.fixture
def search(tmp_path):
    """Function that searches λ_os for settings, changed, and returns the result."""

    def run(**changes):
        config = dataclasses.replace(small_config(tmp_path), **changes).resolved()
        layers = frozenset(config.content_layers + config.style_layers)
        extractor = vgg.load_extractor(None, layers, config.pooling, "float32")
        return strength_search.search(config, picture_inputs.load(config), extractor)

    return run


@pytest.fixture
def few_iterations(monkeypatch):
    monkeypatch.setattr(strength_search, "FIRST_ITERATIONS", 12)
    monkeypatch.setattr(strength_search, "LATER_ITERATIONS", 6)


@pytest.mark.slow
@small
@pytest.mark.parametrize("loss", LOSSES)
def test_a_transfer_reaches_its_strength(tmp_path, loss):
    config = small_config(tmp_path, strength=0.2, loss=loss, iterations=(30,))
    record = run_transfer(config).record
    found = record["strength_search"]
    assert found["target"] == 0.2
    assert record["metrics"]["strength"] == pytest.approx(0.2, abs=0.05)
    assert record["config"]["lambda_os"] is None
    by_hand = run_transfer(dataclasses.replace(config, strength=None, lambda_os=found["lambda_os"]))
    assert by_hand.record["history"] == record["history"]
    assert by_hand.record["strength_search"] is None
    assert by_hand.metrics["strength"] == record["metrics"]["strength"]


@small
def test_more_strength_takes_less_content(search):
    weak, strong = (search(strength=strength) for strength in (0.1, 0.25))
    assert strong["lambda_os"] < weak["lambda_os"]


@small
@pytest.mark.parametrize("loss", ["original", "normalized"])
def test_a_proxy_is_smaller_and_its_weight_carried_over(search, monkeypatch, loss):
    monkeypatch.setattr(strength_search, "_balanced", lambda objective: 1.0)
    monkeypatch.setattr(strength_search._Proxy, "probe", lambda *_: 0.2)
    whole = search(strength=0.2, loss=loss)
    assert whole["proxy_size"] == 24
    monkeypatch.setattr(strength_search, "PROXY_SIZES", (18, 18))
    small = search(strength=0.2, loss=loss)
    assert small["proxy_size"] == 18
    # Of the original loss the content's part grows with the number of pixels.
    ratio = (16 * 18) / (20 * 24) if loss == "original" else 1  # no side is shorter than 16
    assert small["lambda_os"] == pytest.approx(ratio * whole["lambda_os"])


@pytest.fixture
def corrected_early(monkeypatch):
    monkeypatch.setattr(schedule, "ITERATIONS_BEFORE_STRENGTH", 16)
    monkeypatch.setattr(schedule, "ITERATIONS_AFTER_STRENGTH", 4)
    monkeypatch.setattr(transfer, "ITERATIONS_TO_COMPARE", 12)


FOUND = PROBED | {  # about what a search finds for the small pictures
    "target": 0.2,
    "lambda_os": 3.0,
    "probes": [{"lambda_os": 10.0, "strength": 0.17}, {"lambda_os": 1.5, "strength": 0.22}],
    "overshoot": 0.1,
}


def wrong(found, factor):
    """Return a search as if the small pictures had misled it."""
    return lambda *_: found | {"lambda_os": factor * found["lambda_os"]}


@pytest.mark.slow
@small
@pytest.mark.parametrize("loss", ["original", "normalized"])
@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_what_the_small_pictures_get_wrong_is_made_good(
    tmp_path, search, monkeypatch, corrected_early, loss, factor
):
    config = small_config(tmp_path, strength=0.2, loss=loss, iterations=(60,))
    monkeypatch.setattr(strength_search, "TOLERANCE", 0.002)  # so that there are several probes
    found = search(strength=0.2, loss=loss, iterations=(60,))
    monkeypatch.setattr(transfer, "search", wrong(found, factor))
    record = run_transfer(config).record
    misled = factor * found["lambda_os"]
    given = dataclasses.replace(config, strength=None, lambda_os=misled)
    missed = abs(run_transfer(given).metrics["strength"] - 0.2)
    assert abs(record["metrics"]["strength"] - 0.2) < 0.7 * missed
    correction = record["strength_search"]["correction"]
    assert correction["iteration"] == 16
    assert correction["lambda_os"] == record["strength_search"]["lambda_os"]
    assert (correction["lambda_os"] > misled) == (factor < 1)


@small
@pytest.mark.parametrize("stop_at", [10, 16, 18])
def test_a_run_continues_to_the_same_bits_before_and_after_the_correction(
    tmp_path, monkeypatch, corrected_early, stop_at
):
    config = small_config(tmp_path, strength=0.2, iterations=(20,))
    monkeypatch.setattr(transfer, "search", wrong(FOUND, 2))
    whole = run_transfer(config)
    kept = []

    def stop(progress):
        kept.append(progress.checkpoint())
        return progress.iteration >= stop_at

    run_transfer(config, stop)
    monkeypatch.setattr(transfer, "search", lambda *_: pytest.fail("it searched again"))
    resumed = run_transfer(config, checkpoint=kept[-1])
    np.testing.assert_array_equal(resumed.image, whole.image)
    assert resumed.record["strength_search"] == whole.record["strength_search"]
    assert resumed.record["history"] == whole.record["history"]


@small
def test_the_fall_of_the_transfer_itself_does_not_depend_on_how_often_it_is_logged(
    tmp_path, monkeypatch, corrected_early
):
    given = []

    def corrected(search, *arguments):
        given.append(arguments)
        return search

    monkeypatch.setattr(transfer, "corrected", corrected)
    monkeypatch.setattr(transfer, "search", lambda *_: FOUND)
    for log_every in (5, 7):
        config = small_config(tmp_path, strength=0.2, iterations=(20,), log_every=log_every)
        record = run_transfer(config).record
        assert 12 in [row["iteration"] for row in record["history"]]
    assert given[0] == given[1]
    iterations, last, strength, own_overshoot = given[0]
    assert (iterations, last) == (16, 20)
    then = run_transfer(dataclasses.replace(config, strength=None, lambda_os=3.0, iterations=(12,)))
    fall = then.metrics["strength"] - strength
    assert own_overshoot == pytest.approx(max(0, fall / (1 / 12 - 1 / 16)), abs=1e-4)


@small
def test_the_loss_of_each_row_is_at_the_weight_of_its_time(tmp_path, monkeypatch, corrected_early):
    config = small_config(tmp_path, strength=0.2, iterations=(24,))
    monkeypatch.setattr(transfer, "search", wrong(FOUND, 3))
    record = run_transfer(config).record
    final = {term: values["coefficient"] for term, values in record["terms"].items()}
    ratio = 3 * FOUND["lambda_os"] / record["strength_search"]["lambda_os"]
    for row in record["history"]:
        parts = {term: coefficient * row[term] for term, coefficient in final.items()}
        factor = ratio if row["iteration"] <= 16 else 1
        parts["content/conv2_1"] *= factor
        assert row["loss"] == pytest.approx(sum(parts.values()))
    assert abs(ratio - 1) > 0.1


@small
def test_the_weight_of_the_end_is_that_of_the_terms(tmp_path, monkeypatch, corrected_early):
    config = small_config(tmp_path, strength=0.2, iterations=(24,))
    monkeypatch.setattr(transfer, "search", wrong(FOUND, 3))
    record = run_transfer(config).record
    lambda_os = record["strength_search"]["lambda_os"]
    given = dataclasses.replace(config, strength=None, lambda_os=lambda_os)
    coefficients = {term: values["coefficient"] for term, values in record["terms"].items()}
    assert coefficients == objective_at(given, max(given.size)).coefficients


@small
def test_probes_of_a_film_have_the_energies_of_its_shot(tmp_path, monkeypatch):
    config = small_config(tmp_path, strength=0.2).resolved()
    frame = FilmFrame(1.0, {}, {"conv2_1": 1e9})
    inputs = dataclasses.replace(picture_inputs.load(config), frame=frame)
    layers = frozenset(config.content_layers + config.style_layers)
    extractor = vgg.load_extractor(None, layers, config.pooling, "float32")
    posed = []

    def strength(proxy, objective, state):
        posed.append((proxy.objective.coefficients, objective.coefficients))
        return 0.2

    monkeypatch.setattr(strength_search._Proxy, "_strength", strength)
    found = strength_search.search(config, inputs, extractor)
    for unweighted, weighted in posed:
        expected = found["probes"][0]["lambda_os"] * unweighted["content/conv2_1"]
        assert weighted["content/conv2_1"] == pytest.approx(expected)
    pixel_count = 20 * 24
    assert posed[0][0]["content/conv2_1"] == pytest.approx(pixel_count / 1e9)


@small
def test_a_run_continues_without_another_search_to_the_same_bits(tmp_path, monkeypatch):
    config = small_config(tmp_path, strength=0.2, iterations=(6,))
    whole = run_transfer(config)
    kept = []

    def stop(progress):
        kept.append(progress.checkpoint())
        return progress.iteration >= 3

    stopped = run_transfer(config, stop)
    assert stopped.record["status"] == "interrupted"
    monkeypatch.setattr(transfer, "search", lambda *_: pytest.fail("it searched again"))
    resumed = run_transfer(config, checkpoint=kept[-1])
    np.testing.assert_array_equal(resumed.image, whole.image)
    searches = [result.record["strength_search"] for result in (whole, resumed)]
    assert searches[0]["lambda_os"] == searches[1]["lambda_os"]
    assert searches[0]["probes"] == searches[1]["probes"]


@small
@pytest.mark.parametrize(
    "changes",
    [
        {"size": (20, 24)},
        {"optimizer": "adam"},
        {"color": "luminance"},
        {"parametrization": "fourier"},
        {"init": "noise"},
        {"tv_weight": 1e-3},
        {"stroke_size": 0.9},
        {"border": "wrap", "size": (32,), "strength": 0.1},
        {"content_layers": ("conv1_1", "relu2_1")},
    ],
    ids=str,
)
def test_every_kind_of_transfer_takes_a_strength(tmp_path, changes):
    config = small_config(tmp_path, **({"strength": 0.2, "iterations": (8,)} | changes))
    record = run_transfer(config).record
    assert 0 < record["metrics"]["strength"] < 1.3
    assert record["strength_search"]["lambda_os"] > 0


@small
def test_regions_and_blends_take_a_strength(tmp_path):
    config = small_config(tmp_path, strength=0.2)
    left = np.zeros((20, 24, 3), np.float32)
    left[:, :12] = 255
    picture_io.save_picture(tmp_path / "left.png", left)
    picture_io.save_picture(tmp_path / "right.png", 255 - left)
    picture_io.save_picture(tmp_path / "other.png", noise(22, 20, seed=9))
    masks = str(tmp_path / "left.png"), str(tmp_path / "right.png")
    config = dataclasses.replace(config, style=(*config.style, str(tmp_path / "other.png")))
    for changes in ({"style_blend": (1.0, 3.0)}, {"content_masks": masks}):
        record = run_transfer(dataclasses.replace(config, **changes)).record
        assert 0 < record["metrics"]["strength"] < 1.3


@small
@pytest.mark.parametrize(
    ("strengths", "words"),
    [
        (itertools.repeat(0.5), "strength: 0.9 is out of reach .* up to 0.5 is possible"),
        (itertools.repeat(math.nan), "strength: is not defined .*; give lambda_os"),
    ],
)
def test_what_cannot_be_reached_is_refused(search, monkeypatch, strengths, words):
    monkeypatch.setattr(strength_search._Proxy, "probe", lambda *_: next(strengths))
    with pytest.raises(strength_search.StrengthError, match=words):
        search(strength=0.9)


@small
@pytest.mark.parametrize("loss", LOSSES)
def test_a_content_that_is_its_own_style_has_no_strength(tmp_path, search, loss):
    content = small_config(tmp_path).content
    with pytest.raises(strength_search.StrengthError, match=r"up to 0 is possible"):
        search(strength=0.5, style=(content,), style_size="match", loss=loss)


@small
def test_a_search_says_how_far_it_is_and_can_be_ended(tmp_path):
    config = small_config(tmp_path, strength=0.2)
    shares = []
    transfer.Transfer(config).run(on_search=shares.append)
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] <= 1

    def end(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer.Transfer(config).run(on_search=end)
