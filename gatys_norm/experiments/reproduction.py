"""The output of a reproduction, made from finished runs: figures, claims and a page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gatys_norm import files
from gatys_norm.config import PAPER_LOSSES
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.experiments import findings as findings_of_runs
from gatys_norm.experiments import measurements, pairing, statistics
from gatys_norm.experiments.figures import RAISED, RECURSIVE, SIZES, STARTS, SWEEP, Grid, Study
from gatys_norm.experiments.finding import Finding
from gatys_norm.files import StrPath
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io
from gatys_norm.report import markdown, plots
from gatys_norm.report import page as report_page
from gatys_norm.survey import pairs as survey_pairs

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.experiments.pairing import Results
    from gatys_norm.record import Record

_Measurements: TypeAlias = dict[str, float | None]  # by layer or term; None: not finite
_Pictures: TypeAlias = dict[str, tuple[str, np.ndarray]]  # {file name: (caption, picture)}

TITLE = "A reproduction of Choi and Kim (2020)"
CELL_WIDTH, SUMMARY_CELL_WIDTH, SMALL_CELL_WIDTH = 320, 160, 96  # pixels of a picture in a sheet
TEXTS = {
    SWEEP: (
        "Figures 2(a) and 6(a): the weight of the content",
        "λ_os falls to the right, by a factor of ten per column. With the original loss the column "
        "in which the style arrives differs between styles; with the normalized loss the paper "
        "finds it in the same place for every style.",
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
    STARTS: (
        "Instability: several noise starts",
        "The same settings from several noise starts. Gupta et al. find that the results lie the "
        "farther apart the larger the trace of the style's Gram matrix is; the normalized loss "
        "divides by the square of its norm.",
    ),
}
THIRD_LOSS_TEXT = (
    "A third loss: the style-aware one",
    "Like Figure 6(a), with the style terms of Cheng et al. (CVPR 2021): each is divided by an "
    "upper bound that contains x. Near its target a term is half that of the normalized loss.",
)
PLOTS_OF = {SWEEP: ("sweep", "sweep-independent"), STARTS: ("instability",)}
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
    """A study and its results.

    `results` has a `RunResult` for each of `configs_of`; `layer_powers` is {style: {layer: power}},
    `gradient_norms` is {loss: {style: {term: norm}}}; both are empty if no figure needs them.
    """

    study: Study
    figures: tuple[str, ...]
    results: Results
    grids: dict[str, Grid]
    findings: tuple[Finding, ...]
    layer_powers: dict[str, _Measurements]
    gradient_norms: dict[str, dict[str, _Measurements]]


def configs_of(study: Study, figures: Collection[str]) -> tuple[TransferConfig, ...]:
    """Return the settings of every run that the figures need, without duplicates."""
    grids = paper_figures.grids(study, figures).values()
    chosen = [config for grid in grids for config in grid.configs]
    if "3" in figures:
        chosen += paper_figures.curves_configs(study).values()
    return tuple(dict.fromkeys(chosen))


def collect(study: Study, figures: tuple[str, ...], results: Results) -> Reproduction:
    """Compute the claims, and the measurements of the network for Figure 4 and the gradients.

    Args:
      study: `paper_figures.Study`.
      figures: names in `paper_figures.FIGURES` or `paper_figures.OPTIONAL_FIGURES`.
      results: {settings: `RunResult`} for all of `configs_of`. If they have independent measures,
        the claims are tested with these too.

    Returns:
      Reproduction.
    """
    grids = paper_figures.grids(study, figures)
    styles = dict(zip(study.style_names, study.styles, strict=True))

    def of_each_style(
        measure: Callable[[TransferConfig], _Measurements], **changes: Any
    ) -> dict[str, _Measurements]:
        return {
            name: measure(dataclasses.replace(study.base, style=style, **changes))
            for name, style in styles.items()
        }

    return Reproduction(
        study,
        figures,
        results,
        grids,
        tuple(findings_of_runs.all_findings(study, grids, results)),
        of_each_style(measurements.layer_powers) if "4" in figures else {},
        {
            loss: of_each_style(measurements.gradient_norms, loss=loss, lambda_os=None)
            for loss in PAPER_LOSSES
        }
        if "gradients" in figures
        else {},
    )


def write(folder: StrPath, reproduction: Reproduction) -> None:
    """Write the figures as PNG, `claims.json`, `measurements.json` and `report.html`.

    `pairs.csv` lists the pairs for viewers (see `survey_pairs.load`): the first two rows of
    corresponding figures are rated, as in the paper; the other rows are examples.

    Args:
      folder: folder that also contains the folders of the runs.
      reproduction: result of `collect`.
    """
    folder = Path(folder)
    pictures = _pictures(reproduction, CELL_WIDTH)
    contents = _encoded(folder, {f"{name}.png": figure for name, figure in pictures.items()})
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
    """Write a small version: a table of the claims, and a contact sheet per figure.

    In a figure of more than six rows the pictures are smaller, so that it remains a small file.

    Args:
      folder: folder to write to.
      reproduction: result of `collect`.
      command: command line with which a reader gets the same result.
    """
    folder = Path(folder)
    grids = reproduction.grids.values()
    sheet_names = [_file_name(grid) for grid in grids]
    has_many_rows = any(len(grid.rows) > 6 for grid in grids)
    cell_width = SMALL_CELL_WIDTH if has_many_rows else SUMMARY_CELL_WIDTH
    pictures = {
        name + (".jpg" if name in sheet_names else ".png"): figure
        for name, figure in _pictures(reproduction, cell_width).items()
    }
    parts = [
        f"# {TITLE}",
        f"Written by\n\n    {command}",
        ", ".join(f"{name} {value}" for name, value in _versions(reproduction).items()) + ".",
        "## The paper's claims as numbers",
        markdown.findings_table(_described(reproduction)),
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


def _pictures(reproduction: Reproduction, cell_width: int) -> _Pictures:
    """Return {file name without suffix: (caption, picture)} of every figure."""
    pictures = {
        _file_name(grid): (grid.title, _contact_sheet(reproduction, grid, cell_width))
        for grid in reproduction.grids.values()
    }
    pictures |= _sweep_pictures(reproduction)
    points = _trace_and_instability(reproduction)
    if points:
        pictures["instability"] = (
            "Instability against the trace of the style's Gram matrix",
            plots.instability(points),
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


def _sweep_pictures(reproduction: Reproduction) -> _Pictures:
    levels = _levels(reproduction)
    pictures = {}
    for name, measures, caption in (
        ("sweep", statistics.MEASURES, "content distance and mean style reflection"),
        ("sweep-independent", statistics.INDEPENDENT, "measures that no loss optimizes"),
    ):
        curves = _sweep_curves(reproduction, measures)
        if curves and set(measures) <= set(levels):
            picture = plots.sweeps(curves, levels, measures)
            pictures[name] = f"What λ_os does to {caption}", picture
    return pictures


def _file_name(grid: Grid) -> str:
    name = grid.name.replace(" ", "-")
    return name if grid.kind == STARTS else f"figure-{name}"


def _contact_sheet(reproduction: Reproduction, grid: Grid, cell_width: int) -> np.ndarray:
    results = [[reproduction.results[config] for config in row] for row in grid.cells]
    rows = [
        [result.error or picture_io.load_picture(result.output) for result in row]
        for row in results
    ]
    return contact_sheet.labeled_grid(grid.rows, grid.columns, rows, cell_width, grid.title)


def _sweep_curves(
    reproduction: Reproduction, measures: Iterable[str]
) -> dict[str, dict[str, list[plots.SweepPoint]]]:
    """Return {loss: {style: [(λ_os, value of each measure …)]}} for `plots.sweeps`."""
    study, grids = reproduction.study, reproduction.grids.values()
    curves: dict[str, dict[str, list[plots.SweepPoint]]] = {}
    for run in pairing.runs_of(SWEEP, study, grids, reproduction.results):
        values = [statistics.mean_over_layers(run.value, measure) for measure in measures]
        points = curves.setdefault(run.loss, {}).setdefault(run.style, [])
        points.append((float(run.varied), *values))
    return curves


def _levels(reproduction: Reproduction) -> dict[str, float | None]:
    """Return the common levels that `claims.one_lambda` found."""
    prefix = "lambda_spread_"
    return {
        finding.name.removeprefix(prefix): finding.details.get("level")
        for finding in reproduction.findings
        if finding.name.startswith(prefix)
    }


def _trace_and_instability(
    reproduction: Reproduction,
) -> dict[str, dict[str, plots.InstabilityPoint]]:
    """Return {loss: {style: point}} for `plots.instability`, empty if it was not run."""
    details = {finding.name: finding.details for finding in reproduction.findings}
    points = details["instability_explained_by_trace"]["trace_and_instability"]
    return {loss: by_row for loss, by_row in points.items() if by_row}


def _curves_records(reproduction: Reproduction) -> dict[str, Record]:
    """Return {loss: record} of the runs of Figure 3 that did not fail."""
    if "3" not in reproduction.figures:
        return {}
    results = {
        loss: reproduction.results[config]
        for loss, config in paper_figures.curves_configs(reproduction.study).items()
    }
    return {loss: result.record for loss, result in results.items() if result.record}


def _pairs(reproduction: Reproduction) -> list[survey_pairs.PictureFiles]:
    """Return the pairs that viewers rate, and the examples that they see before."""
    return [
        survey_pairs.PictureFiles(
            pair.figures,
            pair.style,
            pair.columns,
            pair.original.output,
            pair.normalized.output,
            Path(pair.original.config.style[0]),
            "rate" if pair.rated else "example",
        )
        for pair in pairing.correspondences(
            reproduction.study, reproduction.grids, reproduction.results
        )
    ]


def _sections(
    folder: Path, reproduction: Reproduction, pictures: _Pictures
) -> list[report_page.Section]:
    plot = {name: (caption, folder / f"{name}.png") for name, (caption, _) in pictures.items()}
    sections = []
    for kind, (title, text) in TEXTS.items():
        described = tuple(
            _described_grid(reproduction, grid)
            for grid in reproduction.grids.values()
            if grid.kind == kind and grid.loss in PAPER_LOSSES
        )
        section_plots = tuple(plot[name] for name in PLOTS_OF.get(kind, ()) if name in plot)
        if described:
            sections.append(report_page.Section(title, text, described, section_plots))
    for grid in reproduction.grids.values():
        if grid.loss not in PAPER_LOSSES:
            described = (_described_grid(reproduction, grid),)
            sections.append(report_page.Section(*THIRD_LOSS_TEXT, described))
    for (title, text), names in (
        (CURVES_TEXT, [f"figure-3-{loss}" for loss in PAPER_LOSSES]),
        (NETWORK_TEXT, ["figure-4", "gradients"]),
    ):
        section_plots = tuple(plot[name] for name in names if name in plot)
        if section_plots:
            sections.append(report_page.Section(title, text, plots=section_plots))
    return sections


def _described_grid(reproduction: Reproduction, grid: Grid) -> report_page.Grid:
    def cell(config: TransferConfig, row: str, column: str) -> report_page.Cell:
        result = reproduction.results[config]
        picture = result.output if result.record else None
        return report_page.Cell(f"{row}, {column}", picture, result.record, result.error)

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
    """Return packages, device and weights of the first finished run."""
    records = (result.record for result in reproduction.results.values())
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
