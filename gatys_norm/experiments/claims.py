"""The paper's claims as numbers, computed from the measures of runs. No TensorFlow.

The content distance of a picture is the mean over its content layers, its mean style reflection
the mean over its style layers; either is undefined if the value of one layer is undefined.

Both numbers of a finding come from the same runs, see `pairing.in_both_losses`. If one loss has no
values at all, its number is None and the number of the other loss comes from all of its runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from gatys_norm.experiments.common_level import (
    Crossings,
    Curve,
    curve_of,
    find_crossings,
    interpolated,
)
from gatys_norm.experiments.finding import Finding, joined, plain
from gatys_norm.experiments.pairing import Measured, Runs, in_both_losses, losses_of
from gatys_norm.experiments.resampling import Evidence, ReduceRows, mean_of, spread_of
from gatys_norm.experiments.statistics import (
    CONTENT_DISTANCE,
    INDEPENDENT,
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
from gatys_norm.terms import block_of
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

ALL_MEASURES = MEASURES | INDEPENDENT
DISTANCES = {  # between two results: words and unit
    "grey_levels": ("RMS difference", "grey levels"),
    "features": ("relative relu4_2 distance", ""),
    "style_vectors": ("distance of style vectors", ""),
}

# Claim (i)


def one_lambda(sweeps: Runs, measures: Iterable[str] = MEASURES) -> list[Finding]:
    """Claim (i): how much λ_os differs between styles for transfers of the same strength.

    The strength is measured by each of the measures in turn. Per style, log10 λ_os is taken where
    the style's curve first meets the common level (see `common_level`), from large to small λ_os.
    The number is the largest minus the smallest of these values; None with fewer than two styles.

    Args:
      sweeps: runs in which λ_os varies, above 0.
      measures: names in `statistics.MEASURES` or `statistics.INDEPENDENT`.

    Returns:
      A finding per measure, in decades.
    """
    return [_lambda_spread(sweeps, measure) for measure in measures]


def _lambda_spread(sweeps: Runs, measure: str) -> Finding:
    crossings = find_crossings(sweeps, measure)
    single = len({position.style for position in crossings.positions}) == 1
    return Finding(
        name=f"lambda_spread_{measure}",
        claim=ONE_LAMBDA,
        measure="spread over styles of the λ_os at which the "
        f"{ALL_MEASURES[measure]} is {_level_text(crossings)}",
        unit="decades",
        **_of_losses(crossings.positions, spread),
        evidence=evidence_of(crossings.positions, spread_of),
        expected="less",
        details=plain(_crossings_details(crossings)),
        note=joined(crossings.notes + (["fewer than two styles"] if single else [])),
    )


def balance(
    sweeps: Runs, level: str = CONTENT_DISTANCE, reflection: str = STYLE_REFLECTION
) -> list[Finding]:
    """Return whether every layer reflects the style, at equal strength.

    Per style, λ_os is chosen so that the level is the common one of `one_lambda`. The reflection in
    each layer at this λ_os is interpolated linearly in log10 λ_os. The numbers are the mean and the
    minimum over layers, undefined if one layer is undefined, then averaged over styles.

    Args:
      sweeps: as for `one_lambda`.
      level: name of the measure that is equal for all styles.
      reflection: name of the measure whose layers are compared.

    Returns:
      Two findings, of the mean and of the minimum over layers.
    """
    crossings = find_crossings(sweeps, level)
    curves, reflections = [], []
    for crossing in crossings.positions:
        runs = [run for run in sweeps if (run.loss, run.style) == (crossing.loss, crossing.style)]
        for layer, curve in _layer_curves(runs, reflection).items():
            value = interpolated(curve, crossing.value)
            curves.append(Measured(crossing.loss, crossing.style, layer, curve))
            reflections.append(Measured(crossing.loss, crossing.style, layer, value))
    details = {"layer_curves": _by_run(curves), "reflection": _by_run(reflections)}
    place = f"at the λ_os at which the {ALL_MEASURES[level]} is {_level_text(crossings)}"
    kind = "" if reflection == STYLE_REFLECTION else f"_{reflection}"
    words = ALL_MEASURES[reflection].removeprefix("mean ")
    return [
        _balance_of(
            sweeps,
            crossings,
            reflections,
            details,
            reduce,
            name=f"balance_{word}{kind}",
            measure=f"{word} over layers of the {words} {place}, mean over styles",
        )
        for word, reduce in (("mean", mean), ("minimum", least))
    ]


def _layer_curves(runs: Runs, measure: str) -> dict[str, Curve]:
    """Return {layer: curve of its value} of a measure and a style's runs."""
    layers = dict.fromkeys(layer for run in runs for layer in layer_values(run.value, measure))

    def value_in(layer: str) -> Callable[[Metrics | None], float | None]:
        return lambda metrics: layer_values(metrics, measure).get(layer)

    return {layer: curve_of(runs, value_in(layer)) for layer in layers}


def _balance_of(
    sweeps: Runs,
    crossings: Crossings,
    reflections: Numbers,
    details: Mapping[str, Any],
    reduce: Reduce,
    **texts: str,
) -> Finding:
    by_style = _per_style(reflections, reduce)
    paired, notes = in_both_losses(sweeps, by_style)
    styles = {(value.loss, value.style) for value in paired}
    paired_reflections = [value for value in reflections if (value.loss, value.style) in styles]
    numbers = _of_losses(paired, mean)
    averages = {"by_style": _by_style(by_style), "by_layer": _by_layer(paired_reflections)}
    return Finding(
        **texts,
        claim=BALANCE,
        unit="",
        original=numbers["original"],
        normalized=numbers["normalized"],
        style_aware=numbers.get("style_aware"),
        evidence=evidence_of(paired, mean_of),
        expected="more",
        details=plain({**_crossings_details(crossings), **details, **averages}),
        note=joined(crossings.notes + (notes if crossings.positions else [])),
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
    raised: Runs,
    equal: Runs,
    between_raised: Distances,
    from_equal: Distances,
    reflections: Iterable[str] = (STYLE_REFLECTION,),
) -> list[Finding]:
    """Claim (ii): whether the weight of each layer has an effect, and a different one per layer.

    Four findings, and more with independent measures:
      raised_layer_gain: the style reflection of the raised layer minus that of the same layer with
        equal weights; mean over all styles and layers. An independent measure does not have this
        layer; its layer in the same block stands for it.
      diversity_grey_levels, diversity_features, diversity_style_vectors: the distance between the
        results of raising one layer and of raising another; mean over the pairs of layers, then
        over styles.
      least_change, least_change_style_vectors: the distance between a result with a raised layer
        and the one with equal weights; minimum over layers, then mean over styles.

    Args:
      raised: runs in which the layer with the raised weight varies.
      equal: one run with equal weights per loss and style.
      between_raised: {"grey_levels": number, "features": number} between two results, perhaps with
        "style_vectors"; the pair of raised layers varies.
      from_equal: the same, between a result with a raised layer and the one with equal weights.
      reflections: names of the measures of the gain.
    """
    kinds = {kind: None for distance in (*between_raised, *from_equal) for kind in distance.value}
    present = [kind for kind in DISTANCES if kind in kinds or kind in ("grey_levels", "features")]
    least_of = [kind for kind in present if kind != "features"]
    return [
        *(_raised_layer_gain(raised, equal, reflection) for reflection in reflections),
        *(_pairwise_diversity(raised, between_raised, kind) for kind in present),
        *(_least_change(raised, from_equal, kind) for kind in least_of),
    ]


def _raised_layer_gain(raised: Runs, equal: Runs, reflection: str) -> Finding:
    metrics_of_equal = {(run.loss, run.style): run.value for run in equal}
    after = [
        run.with_value(_in_layer_of(run.value, reflection, str(run.varied)))
        for run in raised
        if run.value
    ]
    before = [
        run.with_value(_in_layer_of(metrics, reflection, str(run.varied)))
        for run in after
        for metrics in [metrics_of_equal.get((run.loss, run.style))]
    ]
    gains = [
        raised_run.with_value(difference(raised_run.value, equal_run.value))
        for raised_run, equal_run in zip(after, before, strict=True)
    ]
    paired, notes = in_both_losses(raised, gains)
    shares = [
        gain.with_value(_share_of_missing(gain.value, equal_run.value))
        for gain, equal_run in zip(gains, before, strict=True)
    ]
    details = {
        "raised": _by_run(after),
        "equal": _by_run(before),
        "gain": _by_run(gains),
        "gain_by_what_was_missing": _by_run(shares),
        "by_style": _by_style(_per_style(paired, mean)),
        "by_layer": _by_layer(paired),
    }
    is_optimized = reflection == STYLE_REFLECTION
    where = (
        "this layer's style reflection"
        if is_optimized
        else (f"the {ALL_MEASURES[reflection].removeprefix('mean ')} in this layer's block")
    )
    return Finding(
        name="raised_layer_gain" + ("" if is_optimized else f"_{reflection}"),
        claim=DIVERSITY,
        measure=f"what raising a layer's weight adds to {where}, mean over layers and styles",
        unit="",
        **_of_losses(paired, mean),
        evidence=evidence_of(paired, mean_of),
        expected="more",
        details=plain(details),
        note=joined(notes),
    )


def _share_of_missing(gain: float | None, reflection: float | None) -> float | None:
    """Return gain / (1 − reflection): a gain is small where little is missing."""
    if gain is None or reflection is None or reflection == 1:
        return None
    return gain / (1 - reflection)


def _in_layer_of(metrics: Metrics | None, measure: str, layer: str) -> float | None:
    """Return the value of a measure in a layer, or in its layer of the same block."""
    values = layer_values(metrics, measure)
    if measure == STYLE_REFLECTION:
        return values.get(layer)
    same_block = [value for name, value in values.items() if block_of(name) == block_of(layer)]
    return mean(same_block)


def _pairwise_diversity(raised: Runs, between_raised: Distances, kind: str) -> Finding:
    pairs = _distances(between_raised, kind)
    words, unit = DISTANCES[kind]
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


def _least_change(raised: Runs, from_equal: Distances, kind: str) -> Finding:
    distances = _distances(from_equal, kind)
    details = {"from_equal": _by_run(distances)}
    if kind == "grey_levels":
        details["from_equal_features"] = _by_run(_distances(from_equal, "features"))
    words, unit = DISTANCES[kind]
    return _mean_over_styles(
        raised,
        distances,
        least,
        details,
        name="least_change" + ("" if kind == "grey_levels" else f"_{kind}"),
        claim=DIVERSITY,
        measure=f"{words} between the result of equal weights and the one of raising a "
        "layer's weight, minimum over layers, mean over styles",
        unit=unit,
        expected="more",
    )


def _distances(distances: Distances, kind: str) -> list[Measured[float | None]]:
    return [distance.with_value(finite_or_none(distance.value[kind])) for distance in distances]


# Claims (iii) and (iv)


def resolution(
    plain_runs: Runs, recursive_runs: Runs, measures: Iterable[str] = MEASURES
) -> list[Finding]:
    """Claims (iii) and (iv): how much the strength of the transfer changes with the resolution.

    The number is the largest minus the smallest value over sizes, then the mean over styles. There
    is one for each measure, of plain and of recursive transfer. Styles with fewer than two sizes
    are left out.

    Args:
      plain_runs: runs in which the size varies, each started from the content picture.
      recursive_runs: the same, each size started from the result of the previous size.
      measures: names in `statistics.MEASURES` or `statistics.INDEPENDENT`.

    Returns:
      Two findings per measure.
    """
    names = tuple(measures)
    return [
        _change_over_sizes(runs, measure, f"{word}_{measure}", claim, transfer)
        for runs, word, claim, transfer in (
            (plain_runs, "resolution", RESOLUTION, "plain"),
            (recursive_runs, "recursive", RECURSION, "recursive"),
        )
        for measure in names
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
        measure=f"range over resolutions of the {ALL_MEASURES[measure]} of {transfer} transfer, "
        "mean over styles",
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
        style_aware=numbers.get("style_aware"),
        evidence=evidence_of([value for value in by_style if value.value is not None], mean_of),
        details=plain(details | {"by_style": _by_style(by_style)}),
        note=joined(notes),
    )


def evidence_of(values: Numbers, reduce: ReduceRows) -> Evidence:
    """Return the values of each row, for the intervals; undefined values are left out."""
    by_row: dict[str, dict[str, tuple[float, ...]]] = {loss: {} for loss in losses_of(values)}
    for value in values:
        if value.value is not None:
            earlier = by_row[value.loss].get(value.style, ())
            by_row[value.loss][value.style] = (*earlier, value.value)
    return Evidence(by_row, reduce)


def _of_losses(values: Numbers, reduce: Reduce) -> dict[str, float | None]:
    """Return {loss: `reduce` of its values}."""
    return {
        loss: reduce([value.value for value in values if value.loss == loss])
        for loss in losses_of(values)
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
        for loss in losses_of(values)
    }


def _by_style(values: Sequence[Measured[T]]) -> dict[str, dict[str, T]]:
    """Return {loss: {style: value}}, for details."""
    return {
        loss: {value.style: value.value for value in values if value.loss == loss}
        for loss in losses_of(values)
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
        for loss in losses_of(values)
    }
