"""From finished cells to what a reader sees: figures, claims and one page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from gatys_norm import files
from gatys_norm.config import LOSSES
from gatys_norm.experiments import claims, measurements
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.experiments.figures import RAISED, RECURSIVE, SIZES, SWEEP, Grid, Study
from gatys_norm.files import StrPath
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io
from gatys_norm.report import page as report_page
from gatys_norm.report import plots
from gatys_norm.survey import pairs as survey_pairs

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.experiments.grid import RunResult
    from gatys_norm.record import Record

_Key = TypeVar("_Key")
_Outcomes: TypeAlias = "Mapping[TransferConfig, RunResult]"
_Pictures: TypeAlias = dict[str, tuple[str, np.ndarray]]  # {file name: (caption, picture)}

TITLE = "A reproduction of Choi and Kim (2020)"
CELL_WIDTH, SUMMARY_CELL_WIDTH = 320, 160
RATED = (("2a", "6a"), ("2b", "6b"), ("2c", "6c"))  # by the viewers of Table 1
RATED_ROWS = 2
TEXTS = {
    SWEEP: (
        "Figures 2(a) and 6(a): the weight of the content",
        "λ_os falls to the right, by a factor of ten a column. With the original loss the column "
        "in which the style arrives is each style's own; with the normalized loss the paper finds "
        "it in the same place for every style.",
    ),
    RAISED: (
        "Figures 2(b) and 6(b): one style layer raised",
        "Each column raises the weight of one style layer and leaves the others. The paper sees "
        "the original loss answer to conv4_4 alone, the normalized one to every layer.",
    ),
    SIZES: (
        "Figures 2(c) and 6(c): the size",
        "The same settings at several sizes. The paper finds the results of the normalized loss "
        "more alike.",
    ),
    RECURSIVE: (
        "Recursive transfer",
        "Each size starts from the enlarged result of the size before, as at the end of the "
        "paper's section IV.",
    ),
}
CURVES_TEXT = (
    "Figure 3: how the partial style losses fall",
    "Coefficient times squared distance of every style layer against the iteration, and all of "
    "them divided by their first value.",
)
NETWORK_TEXT = (
    "Figure 4 and Eq. 9–10: what the layers weigh by themselves",
    "The power of a layer's output decides how large its distances are; the gradients of the "
    "terms at the start show what that does to each loss. The content term's gradient is 0 there, "
    "because the transfer starts from the content.",
)


@dataclass(frozen=True)
class Reproduction:
    """A study with what became of it.

    `outcomes` has a `RunResult` for each of `configs_of`; `layer_powers` is {style: {layer:
    power}} and `gradient_norms` {loss: {style: {term: norm}}}, empty where no figure wants them.
    """

    study: Study
    figures: tuple[str, ...]
    outcomes: _Outcomes
    grids: dict[str, Grid]
    findings: tuple[claims.Finding, ...]
    layer_powers: dict[str, dict[str, float]]
    gradient_norms: dict[str, dict[str, dict[str, float]]]


def configs_of(study: Study, figures: Collection[str]) -> tuple[TransferConfig, ...]:
    """Return every cell's settings that the figures need, each once."""
    grids = paper_figures.grids(study, figures).values()
    chosen = [config for grid in grids for config in grid.configs]
    if "3" in figures:
        chosen += paper_figures.curves_configs(study).values()
    return tuple(dict.fromkeys(chosen))


def collect(study: Study, figures: tuple[str, ...], outcomes: _Outcomes) -> Reproduction:
    """Compute the claims, and what Figure 4 and the gradients need of the network.

    Args:
      study: `paper_figures.Study`.
      figures: names out of `paper_figures.FIGURES`.
      outcomes: {config: `grid_runs.RunResult`} for all of `configs_of`.

    Returns:
      Reproduction.
    """
    grids = paper_figures.grids(study, figures)
    styles = dict(zip(study.style_names, study.styles, strict=True))

    def of_each_style(
        probe: Callable[[TransferConfig], dict[str, float]], **changes: Any
    ) -> dict[str, dict[str, float]]:
        return {
            name: probe(dataclasses.replace(study.base, style=style, **changes))
            for name, style in styles.items()
        }

    return Reproduction(
        study,
        figures,
        outcomes,
        grids,
        tuple(_findings(study, grids, outcomes)),
        of_each_style(measurements.layer_powers) if "4" in figures else {},
        {
            loss: of_each_style(measurements.gradient_norms, loss=loss, lambda_os=None)
            for loss in LOSSES
        }
        if "gradients" in figures
        else {},
    )


def write(folder: StrPath, reproduction: Reproduction) -> None:
    """Write the figures as PNG, `claims.json`, `measurements.json` and `report_page.html`.

    `pairs.csv` lists what viewers can rate (see `survey_pairs.load`): the first two rows of
    corresponding figures, as in the paper; the others are examples.

    Args:
      folder: where the cells' folders are too.
      reproduction: what `collect` returned.
    """
    folder = Path(folder)
    pictures = _pictures(reproduction, CELL_WIDTH)
    contents = _encoded(folder, {f"{name}.png": shown for name, shown in pictures.items()})
    contents[folder / "claims.json"] = _json(_described(reproduction))
    contents[folder / "measurements.json"] = _json(
        {
            "layer_powers": reproduction.layer_powers,
            "gradient_norms": reproduction.gradient_norms,
            "first_value_ratios": {
                loss: plots.first_value_ratios(record)
                for loss, record in _curves_records(reproduction).items()
            },
        }
    )
    pairs = _pairs(reproduction)
    if pairs:
        contents[folder / "pairs.csv"] = survey_pairs.as_csv(pairs, folder)
    files.write_together(contents)
    report_page.write(
        folder / "report.html",
        TITLE,
        _sections(folder, reproduction, pictures),
        _described(reproduction),
        _settings(reproduction),
    )


def write_summary(folder: StrPath, reproduction: Reproduction, command: str) -> None:
    """Write a small version to keep: the claims as a table, a contact sheet per figure.

    Args:
      folder: where to.
      reproduction: what `collect` returned.
      command: what a reader would type to get the same.
    """
    folder = Path(folder)
    sheet_names = [_file_name(grid) for grid in reproduction.grids.values()]
    pictures = {
        name + (".jpg" if name in sheet_names else ".png"): shown
        for name, shown in _pictures(reproduction, SUMMARY_CELL_WIDTH).items()
    }
    parts = [
        f"# {TITLE}",
        f"Written by\n\n    {command}",
        ", ".join(f"{name} {value}" for name, value in _versions(reproduction).items()) + ".",
        "## The paper's claims as numbers",
        claims.table(reproduction.findings),
        "## Figures",
        *(f"{caption}\n\n![{caption}]({name})" for name, (caption, _) in pictures.items()),
    ]
    contents = _encoded(folder, pictures)
    contents[folder / "claims.json"] = _json(_described(reproduction))
    contents[folder / "README.md"] = ("\n\n".join(parts) + "\n").encode()
    files.write_together(contents)


def _encoded(folder: Path, pictures: _Pictures) -> dict[Path, bytes]:
    return {
        folder / name: picture_io.encode_picture(name, picture)
        for name, (_, picture) in pictures.items()
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _described(reproduction: Reproduction) -> list[dict[str, Any]]:
    return [finding.as_dict() for finding in reproduction.findings]


def _findings(study: Study, grids: Mapping[str, Grid], outcomes: _Outcomes) -> list[claims.Finding]:
    def metrics(
        kind: str, key: Callable[[TransferConfig], _Key]
    ) -> dict[str, dict[str, dict[_Key, claims.Metrics]]]:
        """{loss: {style: {key(config): metrics}}} of the finished cells of one kind of grid."""
        return {
            grid.loss: {
                style: {
                    key(config): record["metrics"]
                    for config in row
                    if (record := outcomes[config].record)
                }
                for style, row in zip(study.style_names, grid.cells, strict=True)
            }
            for grid in grids.values()
            if grid.kind == kind
        }

    sweeps = {
        loss: {style: list(by_lambda.items()) for style, by_lambda in styles.items()}
        for loss, styles in metrics(SWEEP, _lambda_os).items()
    }
    sizes = [metrics(kind, lambda config: config.size[-1]) for kind in (SIZES, RECURSIVE)]
    return [
        *claims.one_lambda(sweeps),
        *claims.balance(sweeps),
        *claims.diversity(*_diversity(study, grids, outcomes)),
        *claims.resolution(*sizes),
    ]


def _diversity(
    study: Study, grids: Mapping[str, Grid], outcomes: _Outcomes
) -> tuple[claims.ByLayer, claims.ByStyle, claims.Distances]:
    """What `claims.diversity` takes: results with a raised layer, with equal weights, distances."""
    raised: dict[str, dict[str, dict[str, claims.Metrics]]] = {}
    equal: dict[str, dict[str, claims.Metrics]] = {}
    distances: dict[str, dict[str, dict[str, Any]]] = {}
    for grid in (grid for grid in grids.values() if grid.kind == RAISED):
        raised[grid.loss], equal[grid.loss], distances[grid.loss] = {}, {}, {}
        rows = zip(study.style_names, grid.cells, grid.references, strict=True)
        for style, row, reference in rows:
            even = outcomes[reference]
            by_layer = {
                layer: outcomes[config]
                for layer, config in zip(grid.columns, row, strict=True)
                if outcomes[config].record
            }
            if even.record and by_layer:
                raised[grid.loss][style] = {
                    layer: outcome.record["metrics"]
                    for layer, outcome in by_layer.items()
                    if outcome.record
                }
                equal[grid.loss][style] = even.record["metrics"]
                distances[grid.loss][style] = _distances(reference, even, by_layer)
    return raised, equal, distances


def _distances(
    config: TransferConfig, even: RunResult, by_layer: Mapping[str, RunResult]
) -> dict[str, Any]:
    paths = [outcome.output for outcome in (even, *by_layer.values())]
    matrices = measurements.picture_distances(config, paths)
    among_raised = {name: [row[1:] for row in matrix[1:]] for name, matrix in matrices.items()}
    from_equal = {
        name: dict(zip(by_layer, matrix[0][1:], strict=True)) for name, matrix in matrices.items()
    }
    return among_raised | {"from_equal": from_equal}


def _pictures(reproduction: Reproduction, cell_width: int) -> _Pictures:
    """Return {file name without suffix: (caption, picture)} of every figure."""
    pictures = {
        _file_name(grid): (grid.title, _contact_sheet(reproduction, grid, cell_width))
        for grid in reproduction.grids.values()
    }
    curves = _curves(reproduction)
    if curves:
        pictures["sweep"] = (
            "What λ_os does to content distance and mean style reflection",
            plots.sweeps(curves, _levels(reproduction)),
        )
    for loss, record in _curves_records(reproduction).items():
        ratios = paper_figures.PAPER_FIRST_VALUE_RATIOS if loss == "original" else None
        title = f"Figure 3, {loss} loss"
        pictures[f"figure-3-{loss}"] = title, plots.partial_style_losses(record, title, ratios)
    if reproduction.layer_powers:
        pictures["figure-4"] = (
            "Figure 4: mean squared output of the layers of VGG-19",
            plots.layer_powers(reproduction.layer_powers),
        )
    if reproduction.gradient_norms:
        pictures["gradients"] = (
            "Norm of each term's gradient at the start (Eq. 9–10)",
            plots.gradient_norms(reproduction.gradient_norms),
        )
    return pictures


def _file_name(grid: Grid) -> str:
    return f"figure-{grid.name.replace(' ', '-')}"


def _contact_sheet(reproduction: Reproduction, grid: Grid, cell_width: int) -> np.ndarray:
    outcomes = [[reproduction.outcomes[config] for config in row] for row in grid.cells]
    rows = [
        [each.error or picture_io.load_picture(each.output) for each in row] for row in outcomes
    ]
    return contact_sheet.labelled_grid(grid.rows, grid.columns, rows, cell_width, grid.title)


def _curves(reproduction: Reproduction) -> dict[str, dict[str, list[plots.SweepPoint]]]:
    """{loss: {style: [(λ_os, content distance, mean style reflection)]}} of the sweeps."""
    return {
        grid.loss: {
            style: [
                (_lambda_os(config), *_content_and_style(reproduction.outcomes[config]))
                for config in row
            ]
            for style, row in zip(grid.rows, grid.cells, strict=True)
        }
        for grid in reproduction.grids.values()
        if grid.kind == SWEEP
    }


def _lambda_os(config: TransferConfig) -> float:
    assert config.lambda_os is not None  # in a grid all settings are resolved
    return config.lambda_os


def _content_and_style(outcome: RunResult) -> tuple[float | None, float | None]:
    metrics = outcome.record and outcome.record["metrics"]
    content, style = (claims.mean_over_layers(metrics, measure) for measure in claims.MEASURES)
    return content, style


def _levels(reproduction: Reproduction) -> dict[str, float | None]:
    """The common levels that `claims.one_lambda` found."""
    details = {finding.name: finding.details for finding in reproduction.findings}
    return {
        measure: details[f"lambda_spread_{measure}"].get("level") for measure in claims.MEASURES
    }


def _curves_records(reproduction: Reproduction) -> dict[str, Record]:
    """{loss: record} of Figure 3, without those that failed."""
    if "3" not in reproduction.figures:
        return {}
    outcomes = {
        loss: reproduction.outcomes[config]
        for loss, config in paper_figures.curves_configs(reproduction.study).items()
    }
    return {loss: outcome.record for loss, outcome in outcomes.items() if outcome.record}


def _pairs(reproduction: Reproduction) -> list[survey_pairs.PictureFiles]:
    """Return the `PictureFiles` of all corresponding cells of which both are finished."""
    return [
        survey_pairs.PictureFiles(
            " / ".join(map(paper_figures.printed, names)),
            style,
            " / ".join(dict.fromkeys(grid.columns[column] for grid in grids)),
            outcomes[0].output,
            outcomes[1].output,
            Path(grids[0].cells[row][column].styles[0]),
            "rate" if row < RATED_ROWS else "example",
        )
        for names in RATED
        if set(names) <= set(reproduction.grids)
        for grids in [[reproduction.grids[name] for name in names]]
        for row, style in enumerate(reproduction.study.style_names)
        for column in range(len(grids[0].columns))
        for outcomes in [[reproduction.outcomes[grid.cells[row][column]] for grid in grids]]
        if all(outcome.record for outcome in outcomes)
    ]


def _sections(
    folder: Path, reproduction: Reproduction, pictures: _Pictures
) -> list[report_page.Section]:
    plot = {name: (caption, folder / f"{name}.png") for name, (caption, _) in pictures.items()}
    sections = []
    for kind, (title, text) in TEXTS.items():
        grids = [grid for grid in reproduction.grids.values() if grid.kind == kind]
        if grids:
            described = tuple(_described_grid(reproduction, grid) for grid in grids)
            sweep = (plot["sweep"],) if kind == SWEEP else ()
            sections.append(report_page.Section(title, text, described, sweep))
    for (title, text), names in (
        (CURVES_TEXT, [f"figure-3-{loss}" for loss in LOSSES]),
        (NETWORK_TEXT, ["figure-4", "gradients"]),
    ):
        shown = tuple(plot[name] for name in names if name in plot)
        if shown:
            sections.append(report_page.Section(title, text, plots=shown))
    return sections


def _described_grid(reproduction: Reproduction, grid: Grid) -> report_page.Grid:
    def cell(config: TransferConfig, row: str, column: str) -> report_page.Cell:
        outcome = reproduction.outcomes[config]
        picture = outcome.output if outcome.record else None
        return report_page.Cell(f"{row}, {column}", picture, outcome.record, outcome.error)

    rows = zip(grid.rows, grid.cells, strict=True)
    table = tuple(
        tuple(cell(config, row, column) for config, column in zip(cells, grid.columns, strict=True))
        for row, cells in rows
    )
    return report_page.Grid(grid.title, grid.rows, grid.columns, table)


def _settings(reproduction: Reproduction) -> dict[str, dict[str, Any]]:
    study = dataclasses.asdict(reproduction.study)
    base = reproduction.study.base.as_dict()
    varied = ("style", "loss", "lambda_os", "init")
    del study["base"]
    return {
        "Figures": study | {"figures": list(reproduction.figures)},
        "Every transfer": {name: value for name, value in base.items() if name not in varied},
        "Versions": _versions(reproduction),
    }


def _versions(reproduction: Reproduction) -> dict[str, str]:
    """Packages, device and weights of the first finished cell."""
    records = (outcome.record for outcome in reproduction.outcomes.values())
    record = next(filter(None, records), None)
    if record is None:
        return {}
    environment, weights = record["environment"], record["weights"]
    return {
        **environment["packages"],
        "Python": environment["python"],
        "device": environment["device"],
        "weights": f"{weights['source']} (SHA-256 {weights['sha256'][:16]}…)",
    }
