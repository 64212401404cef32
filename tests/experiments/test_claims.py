"""The claims' numbers from made-up records, against answers worked out by hand."""

import itertools
import json
import math

import numpy as np
import pytest
from helpers.measured import LAYERS, measured, metrics, sweep, without

from gatys_norm.config import PAPER_LOSSES
from gatys_norm.experiments import claims
from gatys_norm.experiments.finding import Finding
from gatys_norm.experiments.pairing import Measured

NOT_RUN = {
    "one_lambda": lambda: claims.one_lambda([]),
    "balance": lambda: claims.balance([]),
    "diversity": lambda: claims.diversity([], [], [], []),
    "resolution": lambda: claims.resolution([], []),
}


def one_lambda(sweeps):
    return claims.one_lambda(measured(sweeps))


def balance(sweeps):
    return claims.balance(measured(sweeps))


def diversity(raised, equal, distances):
    """Findings of trees, of which `distances` is {loss: {style: what `distances_of` returns}}."""
    of_equal = {
        loss: {style: {"": of_style} for style, of_style in styles.items()}
        for loss, styles in equal.items()
    }
    between, from_equal = (
        measured(
            {
                loss: {style: of_style[part] for style, of_style in styles.items()}
                for loss, styles in distances.items()
            }
        )
        for part in ("between", "from_equal")
    )
    return claims.diversity(measured(raised), measured(of_equal), between, from_equal)


def resolution(plain, recursive):
    return claims.resolution(measured(plain), measured(recursive))


def by_name(findings):
    return {finding.name: finding for finding in findings}


def numbers(finding):
    return finding.original, finding.normalized


def content_spread(sweeps):
    return by_name(one_lambda(sweeps))["lambda_spread_content_distance"]


def made_up(**changes):
    values = {
        "name": "key",
        "claim": "Says so.",
        "measure": "a length",
        "unit": "decades",
        "original": 2.0,
        "normalized": 1.0,
        "expected": "less",
        "details": {},
    }
    return Finding(**(values | changes))


# Every curve goes from 0 to 1, so the level is 0.5; the comments give log10 of where it is met.
SWEEPS = {
    "original": {
        "planes": sweep((-2, -3, -4, -5), (0, 1, 1, 1), (0, 1, 1, 1), (0, 0.5, 1, 1)),  # -2.5
        "strokes": sweep((-2, -3, -4, -5), (0, 0, 0, 1), (0, 0, 0.5, 1), (0, 0, 0, 0.25)),  # -4.5
    },
    "normalized": {
        "planes": sweep((0, -1, -2, -3), (0, 0.5, 1, 1), (0, 0.5, 1, 1), (0, 0.75, 1, 1)),  # -1
        "strokes": sweep((0, -1, -2, -3), (0, 0.25, 0.75, 1), (0, 1, 1, 1), (0, 0, 1, 1)),  # -1.5
    },
}


def test_spread_of_the_content_distance_is_two_decades_against_a_half():
    finding = content_spread(SWEEPS)
    assert numbers(finding) == pytest.approx((4.5 - 2.5, 1.5 - 1))
    assert finding.unit == "decades"
    assert finding.holds
    assert finding.note == ""
    assert "content distance is 0.5" in finding.measure
    assert finding.details["level"] == 0.5
    assert finding.details["interval"] == [0, 1]
    assert finding.details["lambda_os"] == {
        "original": {
            "planes": pytest.approx(10**-2.5),
            "strokes": pytest.approx(10**-4.5),
        },
        "normalized": {"planes": pytest.approx(10**-1), "strokes": pytest.approx(10**-1.5)},
    }
    assert finding.details["curves"]["normalized"]["strokes"] == [
        [1, 0],
        [pytest.approx(0.1), 0.25],
        [pytest.approx(0.01), 0.75],
        [pytest.approx(0.001), 1],
    ]


def test_spread_of_the_mean_style_reflection():
    """Means of the two layers, with maxima 1, 0.625, 1, 1, so that the level is 0.3125.

    original: planes (0, 0.75, …) at -2 - 0.3125/0.75; strokes (…, 0, 0.25, 0.625) a sixth of the
    way from -4 to -5. normalized: planes (0, 0.625, …) at -0.5; strokes (0, 0.5, …) at -0.625.
    """
    finding = by_name(one_lambda(SWEEPS))["lambda_spread_style_reflection"]
    assert finding.details["level"] == 0.3125
    assert numbers(finding) == pytest.approx((4 + 1 / 6 - (2 + 5 / 12), 0.625 - 0.5))
    assert "mean style reflection is 0.312" in finding.measure


def test_level_is_the_middle_of_what_every_curve_reaches():
    sweeps = {
        "original": {
            "planes": sweep((0, -1), (0, 1)),
            "strokes": sweep((0, -1), (0.25, 1)),  # the highest minimum
        },
        "normalized": {
            "planes": sweep((0, -1), (0, 0.5)),  # the lowest maximum
            "strokes": sweep((0, -1), (0.125, 0.625)),
        },
    }
    finding = content_spread(sweeps)
    assert finding.details["interval"] == [0.25, 0.5]
    assert finding.details["level"] == 0.375
    # Met at shares 0.375, 0.125 / 0.75 of a decade, and 0.75, 0.5 of finding.
    assert numbers(finding) == pytest.approx((0.375 - 1 / 6, 0.25))
    assert finding.holds is False


def test_spread_is_undefined_without_a_common_level():
    sweeps = {
        "original": {"planes": sweep((0, -1), (0, 0.25)), "strokes": sweep((0, -1), (0, 1))},
        "normalized": {"planes": sweep((0, -1), (0.5, 1)), "strokes": sweep((0, -1), (0, 1))},
    }
    finding = content_spread(sweeps)
    assert (finding.original, finding.normalized, finding.holds) == (None, None, None)
    assert finding.note == "no common level: one curve is at 0.5 or more, another at 0.25 or less"
    assert "at a common level" in finding.measure
    assert finding.details["level"] is None
    assert finding.details["interval"] == [0.5, 0.25]
    assert finding.details["curves"]["original"]["planes"] == [[1, 0], [pytest.approx(0.1), 0.25]]
    for of_balance in balance(sweeps):
        assert numbers(of_balance) == (None, None)
        assert of_balance.note == finding.note


def test_a_level_that_a_curve_only_touches_is_common():
    sweeps = {
        "original": {"planes": sweep((0, -1), (0, 0.5)), "strokes": sweep((-2, -3), (0.5, 1))},
        "normalized": {"planes": sweep((0, -1), (0, 1)), "strokes": sweep((0, -1), (1, 0))},
    }
    finding = content_spread(sweeps)
    assert finding.details["level"] == 0.5
    assert numbers(finding) == pytest.approx((2 - 1, 0))


def test_a_single_point_at_the_level_is_a_crossing():
    sweeps = {
        "original": {"planes": sweep((-2,), (0,)), "strokes": sweep((-3,), (0,))},
        "normalized": {"planes": sweep((0, -1), (0, 1)), "strokes": sweep((0, -1), (0, 1))},
    }
    finding = content_spread(sweeps)
    assert numbers(finding) == pytest.approx((1, 0))
    assert finding.measure.endswith("is 0")


def test_first_crossing_from_large_lambda_counts():
    ends = {"strokes": sweep((0, -1, -2, -3), (0, 0, 0, 1))}  # -2.5
    sweeps = {
        "original": {"planes": sweep((0, -1, -2, -3), (0, 1, 0, 1)), **ends},  # -0.5, -1.5, -2.5
        "normalized": {"planes": sweep((0, -1, -2, -3), (0, 0, 1, 0)), **ends},  # -1.5, -2.5
    }
    finding = content_spread(sweeps)
    assert numbers(finding) == pytest.approx((2.5 - 0.5, 2.5 - 1.5))
    assert finding.note == (
        "meets the level again at a smaller λ_os: planes (original), planes (normalized)"
    )


def test_order_of_the_points_does_not_matter():
    backwards = {
        loss: {style: dict([*points.items()][::-1]) for style, points in styles.items()}
        for loss, styles in SWEEPS.items()
    }
    assert one_lambda(backwards) == one_lambda(SWEEPS)
    assert balance(backwards) == balance(SWEEPS)


@pytest.mark.parametrize("undefined", [None, math.nan, math.inf])
def test_undefined_points_are_left_out_of_the_curve(undefined):
    sweeps = {
        "original": {
            "planes": sweep((0, -1, -2), (0, undefined, 1)),  # -1, in the middle of the gap
            "strokes": sweep((0, -1, -2), (0, 0, 1)),  # -1.5
        },
        "normalized": {
            "planes": sweep((0, -2), (0, 1)) | {0.1: None},  # failed; -1
            "strokes": sweep((0, -1, -2), (0, 1, 1)),  # -0.5
        },
    }
    finding = content_spread(sweeps)
    assert numbers(finding) == pytest.approx((0.5, 0.5))
    assert finding.note == (
        "points of a sweep without a value: planes at 0.1 (original); planes at 0.1 (normalized)"
    )


def test_content_distance_is_the_mean_over_layers_and_undefined_with_one():
    def of_layers(*values):
        return {"content_distance": dict(zip(LAYERS, values, strict=False))}

    curve = {1.0: of_layers(0, 0.5), 0.1: of_layers(1, None), 0.01: of_layers(0.5, 1)}
    sweeps = {loss: {"planes": curve, "strokes": curve} for loss in PAPER_LOSSES}
    finding = content_spread(sweeps)
    assert finding.details["curves"]["original"]["planes"] == [[1, 0.25], [0.01, 0.75]]
    assert finding.details["lambda_os"]["original"]["planes"] == pytest.approx(0.1)


def test_spread_needs_two_styles():
    sweeps = {loss: {"planes": styles["planes"]} for loss, styles in SWEEPS.items()}
    for finding in one_lambda(sweeps):
        assert numbers(finding) == (None, None)
        assert finding.note == "fewer than two styles"
        assert finding.details["lambda_os"]["original"]["planes"] > 0


def test_style_that_failed_with_one_loss_is_left_out_of_both():
    waves = sweep((0, -1, -2, -3), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 1))
    failed = dict.fromkeys(SWEEPS["original"]["planes"])
    for original in ({}, {"waves": failed}):
        sweeps = {
            "original": SWEEPS["original"] | original,
            "normalized": SWEEPS["normalized"] | {"waves": waves},
        }
        finding = content_spread(sweeps)
        assert numbers(finding) == numbers(content_spread(SWEEPS))
        assert finding.note == "left out, for lack of a value: waves (original)"
        finding = by_name(balance(sweeps))["balance_mean"]
        assert numbers(finding) == numbers(balance(SWEEPS)[0])


def test_loss_that_was_not_run_leaves_the_other_its_number():
    for normalized in ({}, {"normalized": {}}):
        finding = content_spread({"original": SWEEPS["original"]} | normalized)
        assert finding.original == pytest.approx(2)
        assert finding.normalized is None
        assert finding.holds is None
        assert finding.note == "normalized: not run"
        finding = balance({"original": SWEEPS["original"]} | normalized)[0]
        assert numbers(finding) == (pytest.approx((0.375 + 0.4375) / 2), None)
        assert finding.note == "normalized: not run"


def test_balance_at_the_content_level():
    """Reflections of conv1_2 and conv4_4 where the content distance is 0.5.

    original: planes at -2.5: 0.5, 0.25; strokes at -4.5: 0.75, 0.125.
    normalized: planes at -1: 0.5, 0.75; strokes at -1.5: 1, 0.5.
    """
    findings = by_name(balance(SWEEPS))
    assert numbers(findings["balance_mean"]) == pytest.approx(
        (
            (0.375 + 0.4375) / 2,
            (0.625 + 0.75) / 2,
        )
    )
    assert numbers(findings["balance_minimum"]) == pytest.approx(
        ((0.25 + 0.125) / 2, (0.5 + 0.5) / 2)
    )
    assert all(finding.holds and finding.note == "" for finding in findings.values())
    details = findings["balance_minimum"].details
    assert details["level"] == 0.5
    assert details["reflection"]["original"]["strokes"] == pytest.approx(
        {"conv1_2": 0.75, "conv4_4": 0.125}
    )
    assert details["by_style"]["original"] == pytest.approx({"planes": 0.25, "strokes": 0.125})
    assert details["by_layer"]["normalized"] == pytest.approx({"conv1_2": 0.75, "conv4_4": 0.625})
    assert "0.5" in findings["balance_mean"].measure


def test_balance_reads_layers_where_they_are_defined():
    """conv4_4 bridges its gap, 0 to 1 over three decades; met at -1.5, conv1_2 is 0.5 there."""
    gap = {"planes": sweep((0, -1, -2, -3), (0, 0, 1, 1), (0, 0.5, 0.5, 1), (0, None, None, 1))}
    findings = by_name(balance(dict.fromkeys(PAPER_LOSSES, gap)))
    assert numbers(findings["balance_mean"]) == pytest.approx((0.5, 0.5))
    assert findings["balance_mean"].details["reflection"]["original"]["planes"] == pytest.approx(
        {"conv1_2": 0.5, "conv4_4": 0.5}
    )
    assert findings["balance_mean"].holds is False


@pytest.mark.parametrize("values", [(None, None, 1, 1), (None,) * 4])
def test_balance_without_a_layer_at_the_crossing_leaves_the_style_out(values):
    """Met at -3.5; a layer's curve is not extended."""
    sweeps = {
        "original": {
            **SWEEPS["original"],
            "waves": sweep((-2, -3, -4, -5), (0, 0, 1, 1), (0, 1, 1, 1), values),
        },
        "normalized": SWEEPS["normalized"] | {"waves": SWEEPS["normalized"]["planes"]},
    }
    for finding, complete in zip(balance(sweeps), balance(SWEEPS), strict=True):
        assert numbers(finding) == numbers(complete)
        assert finding.note == "left out, for lack of a value: waves (original)"
        assert finding.details["by_style"]["original"]["waves"] is None
        assert list(finding.details["by_style"]["normalized"]) == ["planes", "strokes", "waves"]
        assert finding.details["by_layer"] == complete.details["by_layer"]


def raised_results(gains):
    """{style: {raised layer: metrics}}: the gain more for the raised layer, 9 for all others."""
    return {
        style: {
            layer: metrics(0.0, *(EVEN[layer] + gain if name == layer else 9.0 for name in LAYERS))
            for layer, gain in zip(LAYERS, of_style, strict=True)
        }
        for style, of_style in gains.items()
    }


def distances_of(matrix, changes):
    """Distances of one style's results; those of features are a tenth of the grey levels'."""

    def both(value):
        return {"grey_levels": value, "features": value and value / 10}

    layers = [*enumerate(LAYERS[: len(matrix)])]
    return {
        "between": {
            f"{first}–{second}": both(matrix[i][j])
            for (i, first), (j, second) in itertools.combinations(layers, 2)
        },
        "from_equal": {layer: both(change) for layer, change in zip(LAYERS, changes, strict=False)},
    }


EVEN = dict(zip(LAYERS, (0.25, 0.5, 0.125), strict=True))
RAISED = {
    "original": raised_results({"planes": (0, 0.25, 0), "strokes": (0.125, 0.5, -0.125)}),
    "normalized": raised_results({"planes": (0.5, 0.5, 0.25), "strokes": (0.25, 0.5, 0.25)}),
}
EQUAL = {
    loss: {style: metrics(0.0, *EVEN.values()) for style in styles}
    for loss, styles in RAISED.items()
}
DISTANCES = {
    "original": {
        "planes": distances_of([[0, 4, 1], [4, 0, 4], [1, 4, 0]], (1, 6, 0.5)),
        "strokes": distances_of([[0, 2, 0], [2, 0, 1], [0, 1, 0]], (0.25, 3, 2)),
    },
    "normalized": {
        "planes": distances_of([[0, 8, 9], [8, 0, 10], [9, 10, 0]], (7, 6, 5)),
        "strokes": distances_of([[0, 20, 30], [20, 0, 40], [30, 40, 0]], (3, 4, 5)),
    },
}


def test_gain_of_the_raised_layer():
    finding = by_name(diversity(RAISED, EQUAL, DISTANCES))["raised_layer_gain"]
    assert numbers(finding) == pytest.approx(
        ((0.25 + 0.125 + 0.5 - 0.125) / 6, (0.5 * 3 + 0.25 * 3) / 6)
    )
    assert finding.holds
    assert finding.note == ""
    details = finding.details
    assert details["gain"]["original"]["strokes"] == dict(
        zip(LAYERS, (0.125, 0.5, -0.125), strict=True)
    )
    assert details["raised"]["original"]["strokes"]["conv4_4"] == 1
    assert details["gain_by_what_was_missing"]["original"]["planes"]["conv4_4"] == 0.25 / (1 - 0.5)
    assert details["equal"]["original"]["strokes"]["conv4_4"] == 0.5
    assert details["by_layer"]["original"] == dict(
        zip(LAYERS, (0.0625, 0.375, -0.0625), strict=True)
    )
    assert details["by_style"]["normalized"] == pytest.approx(
        {"planes": 1.25 / 3, "strokes": 1 / 3}
    )


def test_diversity_is_the_mean_over_pairs_then_styles():
    findings = by_name(diversity(RAISED, EQUAL, DISTANCES))
    grey_levels = findings["diversity_grey_levels"]
    assert numbers(grey_levels) == pytest.approx(
        (((4 + 1 + 4) / 3 + (2 + 0 + 1) / 3) / 2, (9 + 30) / 2)
    )
    assert grey_levels.details["pairs"]["normalized"]["planes"] == {
        "conv1_2–conv4_4": 8,
        "conv1_2–conv5_4": 9,
        "conv4_4–conv5_4": 10,
    }
    assert grey_levels.details["by_style"]["original"] == {"planes": 3, "strokes": 1}
    assert grey_levels.unit == "grey levels"
    features = findings["diversity_features"]
    assert numbers(features) == pytest.approx((0.2, 1.95))
    assert features.unit == ""
    assert grey_levels.holds
    assert features.holds


def test_least_change_is_the_minimum_over_layers():
    finding = by_name(diversity(RAISED, EQUAL, DISTANCES))["least_change"]
    assert numbers(finding) == pytest.approx(((0.5 + 0.25) / 2, (5 + 3) / 2))
    assert finding.holds
    assert finding.details["by_style"]["normalized"] == {"planes": 5, "strokes": 3}
    assert finding.details["from_equal"]["original"]["planes"]["conv4_4"] == 6
    assert finding.details["from_equal_features"]["original"]["planes"]["conv4_4"] == 0.6


def test_diversity_takes_numbers_of_numpy():
    arrays = {
        loss: {
            style: {
                part: {
                    names: both | {"grey_levels": np.float32(both["grey_levels"])}
                    for names, both in distances.items()
                }
                for part, distances in of_style.items()
            }
            for style, of_style in styles.items()
        }
        for loss, styles in DISTANCES.items()
    }
    assert diversity(RAISED, EQUAL, arrays) == diversity(RAISED, EQUAL, DISTANCES)


def test_failed_raised_layer_is_left_out_of_both_losses():
    """planes conv5_4 is missing from the original results, as the third row of two."""
    raised = without(RAISED, "original", "planes", "conv5_4")
    distances = DISTANCES | {
        "original": DISTANCES["original"] | {"planes": distances_of([[0, 4], [4, 0]], (1, 6))}
    }
    findings = by_name(diversity(raised, EQUAL, distances))
    gain = findings["raised_layer_gain"]
    assert numbers(gain) == pytest.approx((0.75 / 5, (0.5 * 3 + 0.25 * 2) / 5))
    assert gain.note == "left out, for lack of a value: planes conv5_4 (original)"
    # Left of planes: the pair of conv1_2 and conv4_4.
    assert numbers(findings["diversity_grey_levels"]) == pytest.approx(((4 + 1) / 2, (8 + 30) / 2))
    assert findings["diversity_grey_levels"].note == (
        "left out, for lack of a value: planes conv1_2–conv5_4 (original), "
        "planes conv4_4–conv5_4 (original)"
    )
    assert numbers(findings["least_change"]) == pytest.approx(((1 + 0.25) / 2, (6 + 3) / 2))
    assert findings["least_change"].note == gain.note


@pytest.mark.parametrize("undefined", [None, math.nan])
def test_undefined_values_are_left_out_like_failed_runs(undefined):
    raised = {
        "original": RAISED["original"],
        "normalized": RAISED["normalized"]
        | {"planes": RAISED["normalized"]["planes"] | {"conv1_2": metrics(0.0, undefined, 1.0)}},
    }
    matrix = [[0, undefined, 9], [undefined, 0, 10], [9, 10, 0]]
    distances = DISTANCES | {
        "normalized": DISTANCES["normalized"] | {"planes": distances_of(matrix, (7, 6, undefined))}
    }
    findings = by_name(diversity(raised, EQUAL, distances))
    assert numbers(findings["raised_layer_gain"]) == pytest.approx((0.75 / 5, 1.75 / 5))
    assert numbers(findings["diversity_grey_levels"]) == pytest.approx(
        (((1 + 4) / 2 + 1) / 2, (9.5 + 30) / 2)
    )
    assert numbers(findings["least_change"]) == pytest.approx(((1 + 0.25) / 2, (6 + 3) / 2))
    assert findings["raised_layer_gain"].note.endswith(": planes conv1_2 (normalized)")
    assert findings["diversity_features"].note.endswith(": planes conv1_2–conv4_4 (normalized)")
    for finding in findings.values():
        json.dumps(finding.as_dict(), allow_nan=False)


def test_style_without_an_equal_result_is_left_out():
    for equal in (without(EQUAL, "original", "strokes"), {**EQUAL, "original": {"planes": None}}):
        finding = diversity(RAISED, equal, DISTANCES)[0]
        assert finding.original == (None if equal["original"]["planes"] is None else 0.25 / 3)
    finding = diversity(RAISED, without(EQUAL, "original", "strokes"), DISTANCES)[0]
    assert finding.normalized == pytest.approx(1.25 / 3)
    assert finding.note == "left out, for lack of a value: strokes (original)"


def test_diversity_of_a_single_layer_is_undefined():
    raised = {
        loss: {style: {"conv1_2": metrics(0.0, 0.5)} for style in styles}
        for loss, styles in RAISED.items()
    }
    distances = {
        loss: {style: distances_of([[0]], (1,)) for style in styles}
        for loss, styles in RAISED.items()
    }
    findings = by_name(diversity(raised, EQUAL, distances))
    assert findings["raised_layer_gain"].original == 0.25
    assert findings["diversity_grey_levels"].original is None
    assert findings["diversity_grey_levels"].note == "original: no value; normalized: no value"


def sizes(contents, reflections=None, names=(256, 512, 1024)):
    reflections = reflections or (0.0,) * len(contents)
    pairs = zip(contents, reflections, strict=True)
    return {
        size: metrics(content, reflection, reflection + 0.5)
        for size, (content, reflection) in zip(names, pairs, strict=False)
    }


PLAIN = {
    "original": {
        "planes": sizes((0.125, 0.75, 0.5), (0.25, 0, 0.125)),  # ranges 0.625 and 0.25
        "strokes": sizes((0.5, 0.5, 0.25), (0, 0.5, 0.25)),  # 0.25 and 0.5
    },
    "normalized": {
        "planes": sizes((0.5, 0.625, 0.75), (0, 0.0625, 0.125)),  # 0.25 and 0.125
        "strokes": sizes((0.5, 0.5, 0.5), (0, 0, 0.5)),  # 0 and 0.5
    },
}


def test_change_over_sizes():
    recursive = {
        "original": {"planes": sizes((0, 1, 0.5), (0.25, 0, 0.125))},
        "normalized": {"planes": sizes((1, 1, 1), (0.5, 0, 0.125))},
    }
    findings = by_name(resolution(PLAIN, recursive))
    assert numbers(findings["resolution_content_distance"]) == pytest.approx(
        ((0.625 + 0.25) / 2, 0.25 / 2)
    )
    assert numbers(findings["resolution_style_reflection"]) == pytest.approx((0.75 / 2, 0.625 / 2))
    assert numbers(findings["recursive_content_distance"]) == pytest.approx((1, 0))
    assert numbers(findings["recursive_style_reflection"]) == pytest.approx((0.25, 0.5))
    assert [finding.holds for finding in findings.values()] == [True, True, True, False]
    assert all(finding.note == "" for finding in findings.values())
    details = findings["resolution_style_reflection"].details
    assert details["values"]["original"]["planes"] == {"256": 0.5, "512": 0.25, "1024": 0.375}
    assert details["by_style"]["original"] == {"planes": 0.25, "strokes": 0.5}


def test_recursion_that_was_not_run():
    findings = by_name(resolution(PLAIN, {}))
    assert findings["recursive_content_distance"].note == "not run"
    assert findings["recursive_content_distance"].original is None
    assert findings["resolution_content_distance"].note == ""


def test_size_that_failed_with_one_loss_is_left_out_of_both():
    """Without 256 the ranges of planes are 0.25 and 0.125."""
    failed = without(PLAIN, "original", "planes", 256)
    undefined = sizes((None, 0.75, 0.5), (0.25, 0, 0.125))
    for plain in (failed, PLAIN | {"original": PLAIN["original"] | {"planes": undefined}}):
        finding = resolution(plain, {})[0]
        assert numbers(finding) == pytest.approx(((0.25 + 0.25) / 2, (0.125 + 0) / 2))
        assert finding.note == "left out, for lack of a value: planes 256 (original)"


def test_style_of_a_single_size_is_left_out():
    plain = without(PLAIN, "original", "planes", 256)
    plain = without(plain, "normalized", "planes", 512)
    finding = resolution(plain, {})[0]
    assert numbers(finding) == pytest.approx((0.25, 0))
    assert finding.note == (
        "left out, for lack of a value: planes 512 (normalized), planes 256 (original); "
        "left out, for fewer than two values: planes"
    )


@pytest.mark.parametrize("function", NOT_RUN)
def test_what_was_not_run_is_a_finding_without_numbers(function):
    findings = NOT_RUN[function]()
    assert len(findings) == {"one_lambda": 2, "balance": 2}.get(function, 4)
    for finding in findings:
        assert (finding.original, finding.normalized, finding.holds) == (None, None, None)
        assert finding.note == "not run"


def test_everything_failed():
    lost = [
        Measured(loss, style, 0.1, None) for loss in PAPER_LOSSES for style in ("planes", "strokes")
    ]
    findings = [
        *claims.one_lambda(lost),
        *claims.balance(lost),
        *claims.diversity(lost, lost, [], []),
        *claims.resolution(lost, lost),
    ]
    for finding in findings:
        assert numbers(finding) == (None, None)
        assert finding.note == "original: no value; normalized: no value"


def test_every_finding_is_named_once_and_says_what_the_paper_expects():
    findings = [finding for function in NOT_RUN.values() for finding in function()]
    assert {finding.name: finding.expected for finding in findings} == {
        "lambda_spread_content_distance": "less",
        "lambda_spread_style_reflection": "less",
        "balance_mean": "more",
        "balance_minimum": "more",
        "raised_layer_gain": "more",
        "diversity_grey_levels": "more",
        "diversity_features": "more",
        "least_change": "more",
        "resolution_content_distance": "less",
        "resolution_style_reflection": "less",
        "recursive_content_distance": "less",
        "recursive_style_reflection": "less",
    }
    assert len(findings) == 12
    assert all(finding.claim.endswith(".") and finding.measure for finding in findings)


def test_details_are_plain_json():
    findings = [
        *one_lambda(SWEEPS),
        *balance(SWEEPS),
        *diversity(RAISED, EQUAL, DISTANCES),
        *resolution(PLAIN, PLAIN),
    ]
    for finding in findings:
        assert json.loads(json.dumps(finding.details, allow_nan=False)) == finding.details
        described = finding.as_dict()
        assert json.loads(json.dumps(described, allow_nan=False)) == described
        assert described["holds"] is finding.holds
        added, left_out = {"holds", "intervals", "verdict"}, {"evidence", "style_aware"}
        assert set(described) == {*vars(finding), *added} - left_out


@pytest.mark.parametrize(
    ("original", "normalized", "less", "more"),
    [
        (2.0, 1.0, True, False),
        (1.0, 2.0, False, True),
        (1.0, 1.0, False, False),
        (None, 1.0, None, None),
        (1.0, None, None, None),
        (math.nan, 1.0, None, None),
        (0.0, math.inf, None, None),
    ],
)
def test_holds(original, normalized, less, more):
    values = {"original": original, "normalized": normalized}
    assert made_up(expected="less", **values).holds is less
    assert made_up(expected="more", **values).holds is more


def test_as_dict_has_no_value_that_json_lacks():
    values = {1: np.float32(0.5), "list": (np.int64(3), math.nan, np.array([1.0, math.inf]))}
    described = made_up(original=math.nan, normalized=np.float64(1), details=values).as_dict()
    assert described == {
        "name": "key",
        "claim": "Says so.",
        "measure": "a length",
        "unit": "decades",
        "original": None,
        "normalized": 1.0,
        "expected": "less",
        "details": {"1": 0.5, "list": [3, None, [1.0, None]]},
        "note": "",
        "holds": None,
        "intervals": {},
        "verdict": "not measured",
    }
    json.dumps(described, allow_nan=False)
