"""The command `gatys-norm reproduce`: the experiments of the paper."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from tqdm import tqdm

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import grid as grid_command
from gatys_norm.cli import study as study_flags
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.network import weights
from gatys_norm.report.markdown import VERDICTS

if TYPE_CHECKING:
    from gatys_norm.experiments.figures import Study
    from gatys_norm.experiments.finding import Finding

USAGE = """Run the experiments of Choi and Kim (2020); show the results next to what the paper says.

    gatys-norm reproduce --figures=all --output_dir=results/reproduction
    gatys-norm reproduce --figures=2a,6a --content=C.jpg --styles=A.jpg,B.jpg,C.jpg

Writes report.html, claims.json and a picture per figure; every transfer keeps a folder of its own
there, so that the same command continues where it was stopped, and other settings run anew only
what they touch. Takes the flags of a transfer as well, except those that the figures set
themselves. The pictures of the first form lie in a clone's data/; elsewhere --content and --styles
are needed. In --styles and --more_contents a folder stands for the pictures in it.
"""
WRITTEN = {  # under the folder of each flag
    "output_dir": (
        *("report.html", "claims.json", "measurements.json", "pairs.csv"),
        *("figure-*.png", "sweep*.png", "instability*.png"),
    ),
    "summary_dir": (
        *("README.md", "claims.json"),
        *("figure-*.png", "figure-*.jpg", "sweep*.png", "instability*.png", "instability*.jpg"),
    ),
    "shared_dir": (),
}


def run(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name. Returns the exit code."""
    words = shlex.split(argv[0]) + list(argv[1:])
    command = functools.partial(reproduce, command=shlex.join(words))
    return program.call(USAGE, command, argv, study_flags.define_flags)


def reproduce(values: flags.FlagValues, command: str) -> int:
    """Run what is not finished yet, then write figures, claims and page.

    Args:
      values: parsed flags.
      command: the command line, which the summary contains.
    """
    figures = study_flags.figures_from_flags(values)
    study = study_flags.study_from_flags(values)
    folder = Path(values.output_dir)
    check_folders(values)
    check_pictures(study)
    if values.independent_measures:
        check_measures()
    transfer = loading.start_tensorflow()
    with refusing(*transfer.INPUT_ERRORS):
        study = with_found_weights(study)
    from gatys_norm.experiments import reproduction as reproductions

    configs = reproductions.configs_of(study, figures)
    results, signal_number = grid_command.run_from_flags(configs, values)
    if signal_number is not None:
        return grid_command.report_interrupted(len(results), len(configs), folder, signal_number)
    kept = "the transfers are kept, the same command continues"
    if values.independent_measures:
        try:
            results, signal_number = measured(results)
        except OSError as error:
            return errors.report_unwritten(folder, error, kept)
        if signal_number is not None:
            return grid_command.report_interrupted(
                len(results), len(configs), folder, signal_number
            )
    reproduction = reproductions.collect(study, figures, results)
    writers = {folder: functools.partial(reproductions.write, folder, reproduction)}
    if values.summary_dir:
        small = Path(values.summary_dir)
        writers[small] = functools.partial(
            reproductions.write_summary, small, reproduction, command
        )
    for target, write in writers.items():
        try:
            write()
        except OSError as error:
            return errors.report_unwritten(target, error, kept)
    print_findings(reproduction.findings)
    code = grid_command.report_failed(results.values())
    print(f"page: {folder / 'report.html'}")
    return code


def check_measures() -> None:
    """Refuse `--independent_measures` without the packages that it needs."""
    from gatys_norm.experiments.measures import packages

    with refusing(packages.MeasuresError, prefix="--independent_measures: "):
        packages.check()


def measured(results: grid_command.Results) -> tuple[grid_command.Results, int | None]:
    """Return the results with their independent measures, and the number of a signal or None.

    What was measured is kept next to each result, so that the same command continues.
    """
    from gatys_norm.experiments import findings

    with_measures = {}
    bar = tqdm(results.items(), "measures", mininterval=0.1 if sys.stderr.isatty() else 30, delay=1)
    with console.signals_noted() as received, contextlib.closing(bar):
        for config, result in bar:
            with_measures[config] = findings.with_independent_measures(result)
            if received:
                return results, received[0]
    return with_measures, None


def check_folders(values: flags.FlagValues) -> None:
    """Make the folders, unless one has files of other programs with the names of files to write.

    Raises:
      InputError: a folder cannot be made, or holds such files.
    """
    for flag, patterns in WRITTEN.items():
        if getattr(values, flag):
            folder = Path(getattr(values, flag))
            with refusing(OSError, prefix=f"--{flag}: "):
                folder.mkdir(parents=True, exist_ok=True)
            present = sorted(path for pattern in patterns for path in folder.glob(pattern))
            if present and not is_ours(folder):
                raise InputError(
                    f"--{flag}: {present[0]}: is there already and was not written by this "
                    "program; choose another folder"
                )


def is_ours(folder: Path) -> bool:
    """Tell whether an earlier run wrote into a folder: it has transfers or claims."""
    try:
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        return all({"name", "original", "normalized"} <= set(claim) for claim in claims)
    except (OSError, ValueError, TypeError):
        return any((folder / "cells").glob("*/result.*"))


def check_pictures(study: Study) -> None:
    """Refuse pictures that cannot be used at every size, before TensorFlow is loaded."""
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.images import io as picture_io

    sizes = tuple(sorted({*study.base.size, *study.sizes}))
    named = {
        "content": (study.base.content,),
        "styles": study.styles,
        "more_contents": study.more_contents,
    }
    for flag, paths in named.items():
        with refusing(picture_io.PictureError, prefix=f"--{flag}: "):
            for path in paths:
                picture_io.read_size(path)
    for row in study.rows:
        config = dataclasses.replace(study.base, content=row.content, style=(row.style,))
        with refusing(picture_io.PictureError):
            picture_inputs.load(dataclasses.replace(config, size=sizes))


def with_found_weights(study: Study) -> Study:
    """Return the study with the weights that `--weights` means, which are located only once."""
    source = weights.locate(study.base.weights).source
    return dataclasses.replace(study, base=dataclasses.replace(study.base, weights=source))


def print_findings(findings: Iterable[Finding]) -> None:
    """Print a line per claim."""

    def number(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.3g}"

    print(f"{'claim':44}{'original':>14}{'normalized':>14}  {'as the paper says':18} verdict")
    for finding in findings:
        values = f"{number(finding.original):>14}{number(finding.normalized):>14}"
        third = "" if finding.style_aware is None else f"; style_aware {finding.style_aware:.3g}"
        print(f"{finding.name:44}{values}  {VERDICTS[finding.holds]:18} {finding.verdict}{third}")
