"""The paper's claims as numbers, computed from the measures of runs. No TensorFlow.

The content distance of a picture is the mean over its content layers, its mean style reflection
the mean over its style layers; either is undefined if the value of one layer is undefined.

Both numbers of a finding come from the same runs, see `pairing.in_both_losses`. If one loss has no
values at all, its number is None and the number of the other loss comes from all of its runs.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from gatys_norm.config import LOSSES
from gatys_norm.experiments.common_level import (
    Crossings,
    Curve,
    curve_of,
    find_crossings,
    interpolated,
)
from gatys_norm.experiments.pairing import Measured, Runs, in_both_losses
from gatys_norm.experiments.statistics import (
    CONTENT_DISTANCE,
    MEASURES,
    STYLE_REFLECTION,
    Metrics,
    Reduce,
    difference,
    layer_values,
    least,
    mean,
    mean_over_layers,
    spread,
)
from gatys_norm.text import finite_or_none

ONE_LAMBDA = (
    "With the original loss the λ_os of a proper transfer differs by up to 100 times between "
    "styles; with the normalized loss one range serves all."
)
BALANCE = (
    "The original loss leaves deep layers (conv5_4) far behind; the normalized loss reflects the "
    "style of every layer."
)
DIVERSITY = (
    "Raising one layer's weight changes the normalized result visibly, and for each layer "
    "differently; the original result changes only for conv4_4."
)
RESOLUTION = "With the normalized loss the same settings behave more alike across resolutions."
RECURSION = (
    "With the normalized loss a result enlarged into the next resolution's start keeps the "
    "strength of the transfer."
)

Numbers: TypeAlias = Sequence[Measured[float | None]]
Distances: TypeAlias = Sequence[Measured[Mapping[str, float | None]]]

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One number of the paper's argument, for both losses.

    Attributes:
      name: short key.
      claim: what the paper says, one sentence.
      measure: what is measured, a part of a sentence.
      unit: unit of both numbers; "" if they have none.
      original: number of the original loss; None if it is undefined.
      normalized: number of the normalized loss; None if it is undefined.
      expected: "less" if the paper expects normalized < original, "more" for the opposite.
      details: the values from which the two numbers were computed, as plain JSON values.
      note: why a number is None, or what to consider when reading it.
    """

    name: str
    claim: str
    measure: str
    unit: str
    original: float | None
    normalized: float | None
    expected: str
    details: dict[str, Any]
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the numbers differ in the direction that the paper expects; None if undefined."""
        original, normalized = finite_or_none(self.original), finite_or_none(self.normalized)
        if original is None or normalized is None:
            return None
        return normalized < original if self.expected == "less" else normalized > original

    def as_dict(self) -> dict[str, Any]:
        """Return the finding and `holds` as plain JSON values, without NaN or infinity."""
        return _plain(dataclasses.asdict(self) | {"holds": self.holds})


# Claim (i)


def one_lambda(sweeps: Runs) -> list[Finding]:
    """Claim (i): how much λ_os differs between styles for transfers of the same strength.

    The strength is measured once by the content distance and once by the mean style reflection. Per
    style, log10 λ_os is taken where the style's curve first meets the common level (see
    `common_level`), from large to small λ_os. The number is the largest minus the smallest of these
    values; None with fewer than two styles.

    Args:
      sweeps: runs in which λ_os varies, above 0.

    Returns:
      Two findings, in decades.
    """
    return [_lambda_spread(sweeps, measure) for measure in MEASURES]


def _lambda_spread(sweeps: Runs, measure: str) -> Finding:
    crossings = find_crossings(sweeps, measure)
    single = len({position.style for position in crossings.positions}) == 1
    return Finding(
        name=f"lambda_spread_{measure}",
        claim=ONE_LAMBDA,
        measure="spread over styles of the λ_os at which the "
        f"{MEASURES[measure]} is {_level_text(crossings)}",
        unit="decades",
        **_of_losses(crossings.positions, spread),
        expected="less",
        details=_plain(_crossings_details(crossings)),
        note=_joined(crossings.notes + (["fewer than two styles"] if single else [])),
    )


def balance(sweeps: Runs) -> list[Finding]:
    """Return whether every layer reflects the style, at equal content distance.

    Per style, λ_os is chosen so that the content distance is the common level of `one_lambda`. The
    style reflection of each layer at this λ_os is interpolated linearly in log10 λ_os. The numbers
    are the mean and the minimum over layers, undefined if one layer is undefined, then averaged
    over styles.

    Args:
      sweeps: as for `one_lambda`.

    Returns:
      Two findings, of the mean and of the minimum over layers.
    """
    crossings = find_crossings(sweeps, CONTENT_DISTANCE)
    curves, reflections = [], []
    for crossing in crossings.positions:
        runs = [run for run in sweeps if (run.loss, run.style) == (crossing.loss, crossing.style)]
        for layer, curve in _layer_curves(runs).items():
            reflection = interpolated(curve, crossing.value)
            curves.append(Measured(crossing.loss, crossing.style, layer, curve))
            reflections.append(Measured(crossing.loss, crossing.style, layer, reflection))
    details = {"layer_curves": _by_run(curves), "reflection": _by_run(reflections)}
    return [
        _balance_of(sweeps, crossings, reflections, details, word, reduce)
        for word, reduce in (("mean", mean), ("minimum", least))
    ]


def _layer_curves(runs: Runs) -> dict[str, Curve]:
    """Return {layer: curve of its style reflection} of a style's runs."""
    layers = dict.fromkeys(
        layer for run in runs for layer in layer_values(run.value, STYLE_REFLECTION)
    )

    def reflection_of(layer: str) -> Callable[[Metrics | None], float | None]:
        return lambda metrics: layer_values(metrics, STYLE_REFLECTION).get(layer)

    return {layer: curve_of(runs, reflection_of(layer)) for layer in layers}


def _balance_of(
    sweeps: Runs,
    crossings: Crossings,
    reflections: Numbers,
    details: Mapping[str, Any],
    word: str,
    reduce: Reduce,
) -> Finding:
    by_style = _per_style(reflections, reduce)
    paired, notes = in_both_losses(sweeps, by_style)
    styles = {(value.loss, value.style) for value in paired}
    paired_reflections = [value for value in reflections if (value.loss, value.style) in styles]
    averages = {"by_style": _by_style(by_style), "by_layer": _by_layer(paired_reflections)}
    return Finding(
        name=f"balance_{word}",
        claim=BALANCE,
        measure=f"{word} over layers of the style reflection at the λ_os at which the content "
        f"distance is {_level_text(crossings)}, mean over styles",
        unit="",
        **_of_losses(paired, mean),
        expected="more",
        details=_plain({**_crossings_details(crossings), **details, **averages}),
        note=_joined(crossings.notes + (notes if crossings.positions else [])),
    )


def _crossings_details(crossings: Crossings) -> dict[str, Any]:
    lambdas = [position.with_value(10**position.value) for position in crossings.positions]
    return {
        "level": crossings.level,
        "interval": crossings.interval,
        "lambda_os": _by_style(lambdas),
        "curves": _by_style(crossings.curves),
    }


def _level_text(crossings: Crossings) -> str:
    """Return the level as words that can follow "is"."""
    return "at a common level" if crossings.level is None else f"{crossings.level:.3g}"


# Claim (ii)


def diversity(
    raised: Runs, equal: Runs, between_raised: Distances, from_equal: Distances
) -> list[Finding]:
    """Claim (ii): whether the weight of each layer has an effect, and a different one per layer.

    Four findings:
      raised_layer_gain: the style reflection of the raised layer minus that of the same layer with
        equal weights; mean over all styles and layers.
      diversity_grey_levels, diversity_features: the distance between the results of raising one
        layer and of raising another; mean over the pairs of layers, then over styles.
      least_change: the distance, in grey levels, between a result with a raised layer and the one
        with equal weights; minimum over layers, then mean over styles.

    Args:
      raised: runs in which the layer with the raised weight varies.
      equal: one run with equal weights per loss and style.
      between_raised: {"grey_levels": number, "features": number} between two results; the pair of
        raised layers varies.
      from_equal: the same, between a result with a raised layer and the one with equal weights.
    """
    return [
        _raised_layer_gain(raised, equal),
        _pairwise_diversity(raised, between_raised, "grey_levels", "RMS difference", "grey levels"),
        _pairwise_diversity(raised, between_raised, "features", "relative relu4_2 distance", ""),
        _least_change(raised, from_equal),
    ]


def _raised_layer_gain(raised: Runs, equal: Runs) -> Finding:
    metrics_of_equal = {(run.loss, run.style): run.value for run in equal}
    after = [
        run.with_value(layer_values(run.value, STYLE_REFLECTION).get(str(run.varied)))
        for run in raised
        if run.value
    ]
    before = [
        run.with_value(layer_values(metrics, STYLE_REFLECTION).get(str(run.varied)))
        for run in after
        for metrics in [metrics_of_equal.get((run.loss, run.style))]
    ]
    gains = [
        raised_run.with_value(difference(raised_run.value, equal_run.value))
        for raised_run, equal_run in zip(after, before, strict=True)
    ]
    paired, notes = in_both_losses(raised, gains)
    details = {
        "raised": _by_run(after),
        "equal": _by_run(before),
        "gain": _by_run(gains),
        "by_style": _by_style(_per_style(paired, mean)),
        "by_layer": _by_layer(paired),
    }
    return Finding(
        name="raised_layer_gain",
        claim=DIVERSITY,
        measure="what raising a layer's weight adds to this layer's style reflection, mean over "
        "layers and styles",
        unit="",
        **_of_losses(paired, mean),
        expected="more",
        details=_plain(details),
        note=_joined(notes),
    )


def _pairwise_diversity(
    raised: Runs, between_raised: Distances, kind: str, words: str, unit: str
) -> Finding:
    pairs = _distances(between_raised, kind)
    return _mean_over_styles(
        raised,
        pairs,
        mean,
        {"pairs": _by_run(pairs)},
        name=f"diversity_{kind}",
        claim=DIVERSITY,
        measure=f"{words} between the results of raising one and of raising another layer's "
        "weight, mean over pairs of layers and over styles",
        unit=unit,
        expected="more",
    )


def _least_change(raised: Runs, from_equal: Distances) -> Finding:
    grey_levels, features = (_distances(from_equal, kind) for kind in ("grey_levels", "features"))
    return _mean_over_styles(
        raised,
        grey_levels,
        least,
        {"from_equal": _by_run(grey_levels), "from_equal_features": _by_run(features)},
        name="least_change",
        claim=DIVERSITY,
        measure="RMS difference between the result of equal weights and the one of raising a "
        "layer's weight, minimum over layers, mean over styles",
        unit="grey levels",
        expected="more",
    )


def _distances(distances: Distances, kind: str) -> list[Measured[float | None]]:
    return [distance.with_value(finite_or_none(distance.value[kind])) for distance in distances]


# Claims (iii) and (iv)


def resolution(plain: Runs, recursive: Runs) -> list[Finding]:
    """Claims (iii) and (iv): how much the strength of the transfer changes with the resolution.

    The number is the largest minus the smallest value over sizes, then the mean over styles. There
    is one for the content distance and one for the mean style reflection, of plain and of recursive
    transfer. Styles with fewer than two sizes are left out.

    Args:
      plain: runs in which the size varies, each started from the content picture.
      recursive: the same, each size started from the result of the previous size.

    Returns:
      Four findings.
    """
    return [
        _change_over_sizes(runs, measure, f"{word}_{measure}", claim, transfer)
        for runs, word, claim, transfer in (
            (plain, "resolution", RESOLUTION, "plain"),
            (recursive, "recursive", RECURSION, "recursive"),
        )
        for measure in MEASURES
    ]


def _change_over_sizes(runs: Runs, measure: str, name: str, claim: str, transfer: str) -> Finding:
    values = [run.with_value(mean_over_layers(run.value, measure)) for run in runs if run.value]
    return _mean_over_styles(
        runs,
        values,
        spread,
        {"values": _by_run(values)},
        name=name,
        claim=claim,
        measure=f"range over resolutions of the {MEASURES[measure]} of {transfer} transfer, mean "
        "over styles",
        unit="",
        expected="less",
    )


# What the claims share


def _mean_over_styles(
    runs: Runs, values: Numbers, reduce: Reduce, details: dict[str, Any], **texts: str
) -> Finding:
    """Return the finding whose numbers are the means over styles of `reduce` over a style's values.

    Args:
      runs: all runs of the claim.
      values: the values computed from them.
      reduce: function from numbers to a number, or None if there are too few.
      details: details of the finding; the numbers of the styles are added to them.
      texts: the other fields of the finding.
    """
    paired, notes = in_both_losses(runs, values)
    by_style = _per_style(paired, reduce)
    short_styles = dict.fromkeys(value.style for value in by_style if value.value is None)
    if short_styles:
        notes.append(f"left out, for fewer than two values: {', '.join(short_styles)}")
    numbers = _of_losses([value for value in by_style if value.value is not None], mean)
    return Finding(
        **texts,
        original=numbers["original"],
        normalized=numbers["normalized"],
        details=_plain(details | {"by_style": _by_style(by_style)}),
        note=_joined(notes),
    )


def _of_losses(values: Numbers, reduce: Reduce) -> dict[str, float | None]:
    """Return {loss: `reduce` of its values}, for both losses."""
    return {
        loss: reduce([value.value for value in values if value.loss == loss]) for loss in LOSSES
    }


def _per_style(values: Numbers, reduce: Reduce) -> list[Measured[float | None]]:
    """Return `reduce` of the values of each style with each loss."""
    groups: dict[tuple[str, str], list[float | None]] = {}
    for value in values:
        groups.setdefault((value.loss, value.style), []).append(value.value)
    return [Measured(loss, style, "", reduce(group)) for (loss, style), group in groups.items()]


def _by_run(values: Sequence[Measured[T]]) -> dict[str, dict[str, dict[float | str, T]]]:
    """Return {loss: {style: {what varies: value}}}, for details."""
    return {
        loss: {
            style: {
                value.varied: value.value
                for value in values
                if (value.loss, value.style) == (loss, style)
            }
            for style in dict.fromkeys(value.style for value in values if value.loss == loss)
        }
        for loss in LOSSES
    }


def _by_style(values: Sequence[Measured[T]]) -> dict[str, dict[str, T]]:
    """Return {loss: {style: value}}, for details."""
    return {
        loss: {value.style: value.value for value in values if value.loss == loss}
        for loss in LOSSES
    }


def _by_layer(values: Numbers) -> dict[str, dict[float | str, float | None]]:
    """Return {loss: {layer: mean over styles}}, for details."""
    return {
        loss: {
            layer: mean(
                value.value for value in values if (value.loss, value.varied) == (loss, layer)
            )
            for layer in dict.fromkeys(value.varied for value in values if value.loss == loss)
        }
        for loss in LOSSES
    }


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(notes))


def _plain(value: Any) -> Any:
    """Return a value for JSON: text as keys, Python's numbers, None if not finite."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return finite_or_none(value)
