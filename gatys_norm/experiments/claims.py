"""The paper's claims as numbers, computed from records.

`metrics` is always a record's `metrics`: {"content_distance": {layer: number or None},
"style_distance": …, "style_reflection": …}. The content distance of a picture is the mean over
its content layers, its mean style reflection the mean over its style layers; either is undefined
where one layer's value is.

Both numbers of a finding are made from the same cells (style, style and layer, style and size):
what failed or is undefined with one loss is left out of both, and named in the note. Only where
a loss has nothing at all is the other's number made without it, its own being None.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from gatys_norm import record
from gatys_norm.config import LOSSES

NOT_RUN = "not run"
CONTENT_DISTANCE, STYLE_REFLECTION = "content_distance", "style_reflection"
MEASURES = {CONTENT_DISTANCE: "content distance", STYLE_REFLECTION: "mean style reflection"}

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

Metrics: TypeAlias = record.Metrics | Mapping[str, Mapping[str, float | None]]
# All of these are {loss: {style: …}}.
Sweeps: TypeAlias = Mapping[str, Mapping[str, Sequence[tuple[float, Metrics]]]]
ByStyle: TypeAlias = Mapping[str, Mapping[str, Metrics]]
ByLayer: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Metrics]]]
BySize: TypeAlias = Mapping[str, Mapping[str, Mapping[int, Metrics]]]
Distances: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]

_Tree: TypeAlias = Mapping[str, Mapping[str, Any]]  # any of them
_Names: TypeAlias = tuple[Any, ...]  # a loss, a style and what is below it, such as a layer
_Cells: TypeAlias = Mapping[_Names, float | None]
_Curve: TypeAlias = list[tuple[float, float]]  # (λ_os, value), λ_os falling
_Value = TypeVar("_Value")
_Reduce: TypeAlias = Callable[[Iterable[float | None]], float | None]


@dataclass(frozen=True)
class Finding:
    """One number of the paper's argument, for both losses.

    Attributes:
      name: short key.
      claim: what the paper says, one sentence.
      measure: what is measured, a part of a sentence.
      unit: of both numbers; "" if they have none.
      original: the original loss's number; None if not defined.
      normalized: the normalized loss's.
      expected: "less" where the paper expects normalized < original, "more" for the opposite.
      details: what the two numbers were made from, plain JSON values.
      note: why a number is None, or a caveat.
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
        """Whether the two numbers stand as the paper expects; None if one is not defined."""
        original, normalized = _number(self.original), _number(self.normalized)
        if original is None or normalized is None:
            return None
        return normalized < original if self.expected == "less" else normalized > original

    def as_dict(self) -> dict[str, Any]:
        """Return the finding and `holds` as plain JSON values, without NaN or infinity."""
        return _plain(dataclasses.asdict(self) | {"holds": self.holds})


def one_lambda(sweeps: Sweeps) -> list[Finding]:
    """Claim (i): how far apart the styles' λ_os for the same strength of transfer lie.

    Once for the content distance and once for the mean style reflection. A curve is one style's
    value against log10 λ_os with one loss, straight between its points; undefined points are left
    out. The common level is the middle of [largest of the curves' minima, smallest of their
    maxima], over all styles and both losses; there is none if that interval is empty. The number
    is the largest less the smallest log10 λ_os, over styles, at which the curve meets the level,
    the first time from large λ_os to small; None with fewer than two styles.

    Args:
      sweeps: {loss: {style: [(λ_os above 0, metrics), …]}}.

    Returns:
      Two findings, in decades.
    """
    return [_lambda_spread(sweeps, measure) for measure in MEASURES]


def balance(sweeps: Sweeps) -> list[Finding]:
    """Whether every layer takes part in the style, at equal content.

    At the λ_os at which a style's content distance meets the common level of `one_lambda`, each
    style layer's reflection is read off its own curve, straight between points in log10 λ_os. Of
    a style's layers the mean and the minimum are taken, undefined if one layer is; the numbers
    are their means over styles.

    Args:
      sweeps: as of `one_lambda`.

    Returns:
      Two findings, of the mean and of the minimum over layers.
    """
    crossings = _at_common_level(sweeps, CONTENT_DISTANCE)
    curves = {
        (loss, style, layer): curve
        for loss, style in crossings.positions
        for layer, curve in _layer_curves(sweeps[loss][style]).items()
    }
    reflections = {
        (loss, style, layer): _interpolated(curve, crossings.positions[loss, style])
        for (loss, style, layer), curve in curves.items()
    }
    return [
        _balance_of(sweeps, crossings, curves, reflections, word, reduce)
        for word, reduce in (("mean", _mean), ("minimum", _least))
    ]


def diversity(raised: ByLayer, equal: ByStyle, distances: Distances) -> list[Finding]:
    """Claim (ii): whether each layer's weight has an effect, and an effect of its own.

    Four findings:
      raised_layer_gain: the raised layer's style reflection less the same layer's at equal
        weights; mean over all styles and layers.
      diversity_grey_levels, diversity_features: the distance between the results of raising layer
        i and layer j; mean over the pairs i < j, then over styles.
      least_change: the distance of a raised result from the one of equal weights, in grey levels;
        minimum over layers, then mean over styles.

    Args:
      raised: {loss: {style: {layer: metrics of the result with this layer's weight raised}}}.
      equal: {loss: {style: metrics of the result of equal weights}}.
      distances: {loss: {style: {"grey_levels": matrix, "features": matrix, "from_equal":
        {"grey_levels": {layer: number}, "features": {layer: number}}}}}; the matrices between the
        raised results, symmetric, in the order of the layers in `raised`.
    """
    return [
        _raised_layer_gain(raised, equal),
        _pairwise_diversity(raised, distances, "grey_levels", "RMS difference", "grey levels"),
        _pairwise_diversity(raised, distances, "features", "relative relu4_2 distance", ""),
        _least_change(distances),
    ]


def resolution(plain: BySize, recursive: BySize) -> list[Finding]:
    """Claims (iii) and (iv): how much the result's strength changes with the resolution.

    The largest less the smallest value over sizes, then the mean over styles; for the content
    distance and the mean style reflection, of plain and of recursive transfer. A style with fewer
    than two sizes is left out.

    Args:
      plain: {loss: {style: {size: metrics}}}, each size from the content picture.
      recursive: the same, each size from the result of the size before; its smallest is plain's.

    Returns:
      Four findings.
    """
    return [
        _change_over_sizes(results, measure, f"{word}_{measure}", claim, transfer)
        for results, word, claim, transfer in (
            (plain, "resolution", RESOLUTION, "plain"),
            (recursive, "recursive", RECURSION, "recursive"),
        )
        for measure in MEASURES
    ]


def table(findings: Sequence[Finding]) -> str:
    """Return a table in GitHub's Markdown, a row per finding, and their notes below it.

    A claim stands in the first of the rows that follow one another with it.
    """
    notes = list(dict.fromkeys(finding.note for finding in findings if finding.note))
    rows = [
        ("claim", "measured", *LOSSES, "as the paper says"),
        ("---", "---", "---:", "---:", "---"),
        *(
            ("" if index else claim, *_table_row(finding, notes))
            for claim, group in itertools.groupby(findings, lambda finding: finding.claim)
            for index, finding in enumerate(group)
        ),
    ]
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    for number, note in enumerate(notes, start=1):
        lines += ["", f"Note {number}: {_one_line(note)}"]
    return "\n".join(lines)


def mean_over_layers(metrics: Metrics | None, measure: str) -> float | None:
    """Return the mean of one of `MEASURES` over its layers; None if a layer's is undefined."""
    return _mean(_layer_values(metrics, measure).values())


def _table_row(finding: Finding, notes: Sequence[str]) -> tuple[str, ...]:
    verdict = {True: "yes", False: "no", None: "not measured"}[finding.holds]
    if finding.note:
        verdict += f" (note {notes.index(finding.note) + 1})"
    measured = f"{finding.measure} ({finding.unit})" if finding.unit else finding.measure
    numbers = (_number(finding.original), _number(finding.normalized))
    shown = ("–" if number is None else f"{number:.3g}" for number in numbers)
    return measured, *shown, verdict


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


class _Crossings(NamedTuple):
    """Where the curves of a measure meet their common level; `level` is None if there is none."""

    level: float | None
    interval: list[float]
    positions: dict[_Names, float]  # {(loss, style): log10 λ_os}
    curves: dict[_Names, _Curve]  # {(loss, style): …}
    notes: list[str]

    def details(self) -> dict[str, Any]:
        """Return all but the notes, with λ_os in place of its logarithm."""
        return {
            "level": self.level,
            "interval": self.interval,
            "lambda_os": _nested({key: 10**position for key, position in self.positions.items()}),
            "curves": _nested(self.curves),
        }

    def level_text(self) -> str:
        """Return the level in words, to follow "is"."""
        return "at a common level" if self.level is None else f"{self.level:.3g}"


def _at_common_level(sweeps: Sweeps, measure: str) -> _Crossings:
    curves = {
        names: _curve(points, lambda metrics: mean_over_layers(metrics, measure))
        for names, points in _flat(sweeps, 2).items()
    }
    used, notes = _paired(sweeps, {names: curve or None for names, curve in curves.items()})
    notes += _missing_points(sweeps, curves)
    if not used:
        return _Crossings(None, [], {}, curves, notes)
    reaches = [[value for _, value in curve] for curve in used.values()]
    low, high = max(map(min, reaches)), min(map(max, reaches))
    if low > high:
        notes.append(
            f"no common level: one curve is at {low:.3g} or more, another at {high:.3g} or less"
        )
        return _Crossings(None, [low, high], {}, curves, notes)
    level = (low + high) / 2
    positions = {names: _crossing(curve, level) for names, curve in used.items()}
    return _Crossings(level, [low, high], positions, curves, notes + _repeated(used, level))


def _lambda_spread(sweeps: Sweeps, measure: str) -> Finding:
    crossings = _at_common_level(sweeps, measure)
    few = crossings.positions and len({style for _, style in crossings.positions}) < 2
    return Finding(
        name=f"lambda_spread_{measure}",
        claim=ONE_LAMBDA,
        measure="spread over styles of the λ_os at which the "
        f"{MEASURES[measure]} is {crossings.level_text()}",
        unit="decades",
        **_by_loss(crossings.positions, _range),
        expected="less",
        details=_plain(crossings.details()),
        note=_joined(crossings.notes + (["fewer than two styles"] if few else [])),
    )


def _balance_of(
    sweeps: Sweeps,
    crossings: _Crossings,
    curves: Mapping[_Names, _Curve],
    reflections: _Cells,
    word: str,
    reduce: _Reduce,
) -> Finding:
    by_style = _grouped(reflections, (0, 1), reduce)
    kept, notes = _paired(sweeps, by_style)
    used = {names: value for names, value in reflections.items() if names[:2] in kept}
    details = {
        "layer_curves": _nested(curves),
        "reflection": _nested(reflections),
        "by_style": _nested(by_style),
        "by_layer": _nested(_grouped(used, (0, 2), _mean)),
    }
    return Finding(
        name=f"balance_{word}",
        claim=BALANCE,
        measure=f"{word} over layers of the style reflection at the λ_os at which the content "
        f"distance is {crossings.level_text()}, mean over styles",
        unit="",
        **_by_loss(kept, _mean),
        expected="more",
        details=_plain(crossings.details() | details),
        note=_joined(crossings.notes + (notes if crossings.positions else [])),
    )


def _raised_layer_gain(raised: ByLayer, equal: ByStyle) -> Finding:
    after = {
        (loss, style, layer): _layer_values(metrics, STYLE_REFLECTION).get(layer)
        for (loss, style, layer), metrics in _flat(raised, 3).items()
    }
    before = {
        (loss, style, layer): _layer_values(_at(equal, loss, style), STYLE_REFLECTION).get(layer)
        for loss, style, layer in after
    }
    gains = {names: _difference(after[names], before[names]) for names in after}
    kept, notes = _paired(raised, gains)
    details = {
        "raised": _nested(after),
        "equal": _nested(before),
        "gain": _nested(gains),
        "by_style": _nested(_grouped(kept, (0, 1), _mean)),
        "by_layer": _nested(_grouped(kept, (0, 2), _mean)),
    }
    return Finding(
        name="raised_layer_gain",
        claim=DIVERSITY,
        measure="what raising a layer's weight adds to this layer's style reflection, mean over "
        "layers and styles",
        unit="",
        **_by_loss(kept, _mean),
        expected="more",
        details=_plain(details),
        note=_joined(notes),
    )


def _pairwise_diversity(
    raised: ByLayer, distances: Distances, kind: str, words: str, unit: str
) -> Finding:
    pairs = {
        (loss, style, pair): value
        for loss, style in _flat(distances, 2)
        for pair, value in _pairs(
            _at(distances, loss, style).get(kind),
            _at(raised, loss, style),
            _at(distances, loss, style, "from_equal", kind),
        ).items()
    }
    return _mean_over_styles(
        distances,
        pairs,
        _mean,
        {"pairs": _nested(pairs)},
        name=f"diversity_{kind}",
        claim=DIVERSITY,
        measure=f"{words} between the results of raising one and of raising another layer's "
        "weight, mean over pairs of layers and over styles",
        unit=unit,
        expected="more",
    )


def _pairs(
    matrix: Sequence[Sequence[float | None]] | None, *layers: Collection[str]
) -> dict[str, float | None]:
    """{"i–j": entry} above the diagonal; rows are numbered if none of `layers` fits the matrix."""
    rows = [] if matrix is None else matrix
    numbers = range(1, len(rows) + 1)
    row_names = next((names for names in layers if len(names) == len(rows)), numbers)
    return {
        f"{first}–{second}": _number(rows[i][j])
        for (i, first), (j, second) in itertools.combinations(enumerate(row_names), 2)
    }


def _least_change(distances: Distances) -> Finding:
    grey_levels, features = (
        {
            (loss, style, layer): _number(value)
            for loss, style in _flat(distances, 2)
            for layer, value in _at(distances, loss, style, "from_equal", kind).items()
        }
        for kind in ("grey_levels", "features")
    )
    return _mean_over_styles(
        distances,
        grey_levels,
        _least,
        {"from_equal": _nested(grey_levels), "from_equal_features": _nested(features)},
        name="least_change",
        claim=DIVERSITY,
        measure="RMS difference between the result of equal weights and the one of raising a "
        "layer's weight, minimum over layers, mean over styles",
        unit="grey levels",
        expected="more",
    )


def _change_over_sizes(
    results: BySize, measure: str, name: str, claim: str, transfer: str
) -> Finding:
    values = {
        names: mean_over_layers(metrics, measure) for names, metrics in _flat(results, 3).items()
    }
    return _mean_over_styles(
        results,
        values,
        _range,
        {"values": _nested(values)},
        name=name,
        claim=claim,
        measure=f"range over resolutions of the {MEASURES[measure]} of {transfer} transfer, mean "
        "over styles",
        unit="",
        expected="less",
    )


def _mean_over_styles(
    source: _Tree, cells: _Cells, reduce: _Reduce, details: dict[str, Any], **texts: str
) -> Finding:
    """The finding whose numbers are the means over styles of `reduce` over a style's cells.

    Args:
      source: {loss: {style: …}}, what was run.
      cells: {(loss, style, name): number or None}.
      reduce: numbers → number, or None if there are too few.
      details: the finding's, to which the style's numbers are added.
    """
    kept, notes = _paired(source, cells)
    by_style = _grouped(kept, (0, 1), reduce)
    few = dict.fromkeys(style for (_, style), value in by_style.items() if value is None)
    if few:
        notes.append(f"left out, for fewer than two values: {', '.join(map(str, few))}")
    defined = {names: value for names, value in by_style.items() if value is not None}
    numbers = _by_loss(defined, _mean)
    return Finding(
        **texts,
        original=numbers["original"],
        normalized=numbers["normalized"],
        details=_plain(details | {"by_style": _nested(by_style)}),
        note=_joined(notes),
    )


def _paired(
    source: _Tree, cells: Mapping[_Names, _Value | None]
) -> tuple[dict[_Names, _Value], list[str]]:
    """Leave out what one of the losses lacks, so that both numbers come from the same cells.

    Args:
      source: {loss: {style: …}}, what was run.
      cells: {(loss, style, …): value, None if undefined}.

    Returns:
      (the cells that are left, notes that name the others). A loss without a single value takes
      no part in the choice.
    """
    styles = dict.fromkeys(style for loss in LOSSES for style in _at(source, loss))
    if not styles:
        return {}, [NOT_RUN]
    with_value = {names[0] for names, value in cells.items() if value is not None}
    notes = [
        f"{loss}: {'no value' if _at(source, loss) else NOT_RUN}"
        for loss in LOSSES
        if loss not in with_value
    ]
    losses = [loss for loss in LOSSES if loss in with_value]
    kept: dict[_Names, Any] = {}
    left_out: list[str] = []
    for style in styles:
        lacking = {
            rest: [loss for loss in losses if cells.get((loss, style, *rest)) is None]
            for rest in dict.fromkeys(names[2:] for names in cells)
        }
        complete = [rest for rest, without in lacking.items() if not without]
        for names in ((loss, style, *rest) for loss in losses for rest in complete):
            kept[names] = cells[names]
        left_out += _left_out(style, lacking)
    if left_out:
        notes.append(f"left out, for lack of a value: {', '.join(left_out)}")
    return kept, notes


def _left_out(style: str, lacking: Mapping[_Names, Sequence[str]]) -> list[str]:
    """The cells of a style that losses lack, as texts; the style alone if it has no other."""
    if all(lacking.values()):
        losses = sorted({loss for of_cell in lacking.values() for loss in of_cell}, reverse=True)
        return [f"{style} ({' and '.join(losses)})"] if losses else []
    return [
        f"{style} {' '.join(map(str, names))} ({' and '.join(losses)})"
        for names, losses in lacking.items()
        if losses
    ]


def _by_loss(cells: _Cells, reduce: _Reduce) -> dict[str, float | None]:
    """{loss: `reduce` of its values}, for both losses."""
    return {
        loss: reduce([value for names, value in cells.items() if names[0] == loss])
        for loss in LOSSES
    }


def _grouped(cells: _Cells, places: Sequence[int], reduce: _Reduce) -> dict[_Names, float | None]:
    """{names at these places: `reduce` of the values that share them}."""
    groups: dict[_Names, list[float | None]] = {}
    for names, value in cells.items():
        groups.setdefault(tuple(names[place] for place in places), []).append(value)
    return {names: reduce(values) for names, values in groups.items()}


def _flat(tree: _Tree, depth: int) -> dict[_Names, Any]:
    """{(name, …, name): value} of dictionaries nested so deep, of the two losses."""
    cells: dict[_Names, Any] = {(loss,): _at(tree, loss) for loss in LOSSES}
    for _ in range(depth - 1):
        cells = {
            (*names, name): value
            for names, inner in cells.items()
            for name, value in (inner or {}).items()
        }
    return cells


def _nested(cells: Mapping[_Names, Any]) -> dict[str, Any]:
    """The opposite of `_flat`."""
    tree: dict[str, Any] = {loss: {} for loss in LOSSES}
    for (*outer, last), value in cells.items():
        inner = tree
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return tree


def _curve(
    points: Sequence[tuple[float, Metrics]] | None, value_of: Callable[[Metrics], float | None]
) -> _Curve:
    """[(λ_os, value), …], λ_os falling, of the points that have a value."""
    values = [(lambda_os, value_of(metrics)) for lambda_os, metrics in dict(points or ()).items()]
    return sorted(((at, value) for at, value in values if value is not None), reverse=True)


def _layer_curves(points: Sequence[tuple[float, Metrics]]) -> dict[str, _Curve]:
    layers = dict.fromkeys(
        layer for _, metrics in points for layer in _layer_values(metrics, STYLE_REFLECTION)
    )

    def reflection_of(layer: str) -> Callable[[Metrics], float | None]:
        return lambda metrics: _layer_values(metrics, STYLE_REFLECTION).get(layer)

    return {layer: _curve(points, reflection_of(layer)) for layer in layers}


def _crossing(curve: _Curve, level: float) -> float:
    """The first log10 λ_os, from large to small, at which the curve is at the level."""
    # The first point twice, so that a curve may begin, or consist of one point, at the level.
    for (first, before), (second, after) in itertools.pairwise([curve[0], *curve]):
        if min(before, after) <= level <= max(before, after):
            share = (level - before) / (after - before) if after != before else 0
            return (1 - share) * math.log10(first) + share * math.log10(second)
    raise ValueError(f"no part of the curve is at {level}")


def _interpolated(curve: _Curve, position: float) -> float | None:
    """The curve's value at a log10 λ_os; None outside it."""
    if not curve:
        return None
    positions, values = zip(*((math.log10(at), value) for at, value in curve[::-1]), strict=True)
    return _number(np.interp(position, positions, values, left=math.nan, right=math.nan))


def _repeated(curves: Mapping[_Names, _Curve], level: float) -> list[str]:
    """A note that names the curves that meet the level again after crossing it."""
    again = []
    for (loss, style), curve in curves.items():
        above = [value > level for _, value in curve if value != level]
        if sum(one != other for one, other in itertools.pairwise(above)) > 1:
            again.append(f"{style} ({loss})")
    return [f"meets the level again at a smaller λ_os: {', '.join(again)}"] if again else []


def _missing_points(sweeps: Sweeps, curves: Mapping[_Names, _Curve]) -> list[str]:
    """A note that names the λ_os at which a style has no value although its loss's sweep has it."""
    missing = []
    for (loss, style), curve in curves.items():
        given = {at for points in _at(sweeps, loss).values() for at, _ in points or ()}
        lacking = sorted(given - {at for at, _ in curve}, reverse=True)
        if curve and lacking:
            missing.append(f"{style} at {', '.join(f'{at:g}' for at in lacking)} ({loss})")
    return [f"points of a sweep without a value: {'; '.join(missing)}"] if missing else []


def _at(tree: Any, *names: str) -> Any:
    """The dictionary that these names lead to; an empty one where something is missing."""
    for name in names:
        tree = (tree or {}).get(name)
    return tree or {}


def _layer_values(metrics: Metrics | None, measure: str) -> dict[str, float | None]:
    return {layer: _number(value) for layer, value in _at(metrics, measure).items()}


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _complete(values: Iterable[float | None]) -> list[float]:
    """The values; none of them where one is undefined."""
    numbers = list(values)
    defined = [number for number in numbers if number is not None]
    return defined if len(defined) == len(numbers) else []


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = _complete(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def _least(values: Iterable[float | None]) -> float | None:
    return min(_complete(values), default=None)


def _range(values: Iterable[float | None]) -> float | None:
    numbers = _complete(values)
    return max(numbers) - min(numbers) if len(numbers) > 1 else None


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(notes))


def _plain(value: Any) -> Any:
    """The value as JSON has it: text for keys, lists, numbers of Python, None if not finite."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return _number(value)
