"""The command `gatys-norm explore`: every combination of pictures and settings, small."""

from __future__ import annotations

import dataclasses
import filecmp
import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gatys_norm import files
from gatys_norm.cli import errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import grid as grid_command
from gatys_norm.cli import pictures as picture_files
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.config import SIZE_RANGE, ConfigError, TransferConfig
from gatys_norm.experiments import explore as exploration
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.network import weights
from gatys_norm.report import sheet
from gatys_norm.runs import folder as run_folder

if TYPE_CHECKING:
    from gatys_norm.experiments.explore import Cell
    from gatys_norm.experiments.grid import RunResult

USAGE = """Make every combination of contents, styles and settings, small; show them on one page.

    gatys-norm explore --content=C.jpg --style=paintings/
    gatys-norm explore --content=A.jpg,B.jpg --style=paintings/ --lambda_os=1e-2,1e-3 --size=256

Of a folder every picture is taken. Writes explore.html, a sheet to filter and sort; it gives for
each result the command that makes it at --full_size. The results are in pictures/, with names made
of content, style and settings, so that with --size=1024 this makes many pictures at once. Every
transfer keeps a folder of its own, so that the same command continues where it was stopped. Takes
the flags of a transfer as well; they hold for every cell.
"""
PAGE, PICTURES = "explore.html", "pictures"  # in --output_dir
VARIED_PICTURES = ("content", "style")
TITLE = "Every combination, to choose from"
SIZE = 192
REFUSED = {  # {flag of a transfer: why it is not taken}
    "output": "--output_dir names the folder of all pictures",
    "config_from": "the flags give the settings of all cells",
    "resume": "finished and begun transfers are always continued",
    "snapshot_every": "the page shows finished pictures",
    "bit_depth": "the pictures have 8 bits; take the command that the page gives",
    "dpi": "take the command that the page gives",
    "preview": "it shows one transfer at a time",
}


def run(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name. Returns the exit code."""
    return program.call(USAGE, explore, argv, define_flags)


def define_flags(values: flags.FlagValues) -> None:
    """Add the flags of the sheet, some of them instead of a transfer's flag of the same name."""
    define_list = functools.partial(flags.DEFINE_list, flag_values=values)
    define_count = functools.partial(flags.DEFINE_integer, flag_values=values)
    lists = {
        "content": (None, "pictures whose scene is kept: files, or folders of them"),
        "style": (None, "pictures whose manner is taken: files, or folders of them"),
        **{axis.setting: (None, axis.explanation) for axis in exploration.AXES},
        "size": ([str(SIZE)], "long side of each cell in pixels; several run coarse to fine"),
    }
    for name, (default, explanation) in lists.items():
        if name in values:
            delattr(values, name)
        define_list(name, default, explanation)
    cli_flags.define_path(
        "output_dir", "results/explore", "folder for everything; made if missing", values
    )
    explanation = "long side in pixels of what the commands on the page make"
    define_count("full_size", 1024, explanation, *SIZE_RANGE)
    define_count("max_cells", 200, "most cells; more are refused", 1)
    grid_command.define_flags(values)


def explore(values: flags.FlagValues) -> int:
    """Run what is not finished yet, then write the pictures and the page."""
    cells, full_cells = cells_from_flags(values)
    folder = Path(values.output_dir)
    check_folder(folder, cells)
    transfer = loading.start_tensorflow()
    with refusing(*transfer.INPUT_ERRORS):
        source = weights.locate(cells[0].config.weights).source
    cells, full_cells = with_weights(cells, source), with_weights(full_cells, source)
    configs = [cell.config.resolved() for cell in cells]
    results, signal_number = grid_command.run_from_flags(configs, values)
    try:
        write(folder, cells, full_cells, [results.get(config) for config in configs])
    except (OSError, picture_io.PictureError) as error:
        note = "the transfers are kept, the same command continues"
        return errors.report_unwritten(folder, error, note)
    code = grid_command.report_failed(results.values())
    print(f"pictures: {folder / PICTURES}")
    print(f"page: {folder / PAGE}")
    if signal_number is not None:
        return grid_command.report_interrupted(len(results), len(cells), folder, signal_number)
    return code


# --- before the work ----------------------------------------------------------------------------


def cells_from_flags(values: flags.FlagValues) -> tuple[list[Cell], list[Cell]]:
    """Return the cells that the flags describe, and the same at full size.

    Raises:
      InputError: a flag or a picture cannot be used, or there are more cells than --max_cells.
    """
    for name, reason in REFUSED.items():
        cli_flags.refuse_flags((name,), values, reason)
    paths = {name: cli_flags.expanded(cli_flags.required(values, name)) for name in VARIED_PICTURES}
    base = base_from_flags(values, paths)
    axes = exploration.values_of_axes(base, values_given(values))
    loading.show_warnings()
    listed = {
        name: picture_files.readable(
            name, picture_files.listed(name, paths[name]), picture_io.read_size
        )
        for name in paths
    }
    check_count({**listed, **axes}, values.max_cells)
    check_other_inputs(base)
    contents, styles = (
        list(picture_files.readable(name, found, picture_io.load_picture))
        for name, found in listed.items()
    )
    with refusing(ConfigError, prefix="--"):
        full = exploration.at_full_size(base, values.full_size)
        return (
            exploration.cells(base, contents, styles, axes),
            exploration.cells(full, contents, styles, axes),
        )


def base_from_flags(values: flags.FlagValues, paths: Mapping[str, Sequence[str]]) -> TransferConfig:
    """Return the settings that all cells have, with the first of all pictures."""
    size = cli_flags.numbers("size", values.size, int)
    unset = {axis.setting: getattr(TransferConfig, axis.setting) for axis in exploration.AXES}
    first = {name: named[0] for name, named in paths.items()}
    return cli_flags.config_from_flags(values, size=size, **first, **unset)


def values_given(values: flags.FlagValues) -> dict[str, tuple[float, ...]]:
    """Return {setting: values} of what is to vary and is on the command line."""
    names = [axis.setting for axis in exploration.AXES if values[axis.setting].present]
    return {
        name: cli_flags.numbers(name, cli_flags.required(values, name), float) for name in names
    }


def check_count(varied: Mapping[str, Collection[object]], most: int) -> None:
    """Refuse more cells than `most`, given {what varies: its values}."""
    count = math.prod(map(len, varied.values()))
    if count > most:
        counts = {name: len(values) for name, values in varied.items() if len(values) > 1}
        factors = " × ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(
            f"--max_cells: {count} cells ({factors}) are more than {most}; set "
            f"--max_cells={count} to make them all"
        )


def check_other_inputs(config: TransferConfig) -> None:
    """Refuse pictures that cannot be read and that all cells have, and missing weights."""
    for name, paths in transfer_command.pictures_by_flag(config):
        if name not in VARIED_PICTURES:
            picture_files.readable(name, dict.fromkeys(paths), picture_io.load_picture)
    with refusing(weights.WeightsError):
        weights.check_path(config.weights)


def check_folder(folder: Path, cells: Sequence[Cell]) -> None:
    """Make the folder, unless it has files of other programs with the names of files to write.

    Raises:
      InputError: the folder cannot be made, or holds such files, or pictures that are read.
    """
    with refusing(OSError, prefix="--output_dir: "):
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    with refusing(run_folder.OutputError, prefix="--output_dir: "):
        run_folder.check_ours(folder / PAGE, sheet.is_page)
        for cell in cells:
            output = picture_path(folder, cell)
            run_folder.check_output(output, picture_inputs.paths(cell.config).all())
            run_folder.check_derived(output, cell.config, snapshot_every=0, resume=True)
            run_folder.check_ours(output, run_folder.is_our_picture)


def picture_path(folder: Path, cell: Cell) -> Path:
    """Return where the picture of a cell goes."""
    return folder / PICTURES / f"{cell.name}.png"


# --- afterwards ---------------------------------------------------------------------------------


def with_weights(cells: Iterable[Cell], source: str) -> list[Cell]:
    """Return cells with the weights that `--weights` means, which are located only once."""
    return [
        dataclasses.replace(cell, config=dataclasses.replace(cell.config, weights=source))
        for cell in cells
    ]


def write(
    folder: Path,
    cells: Sequence[Cell],
    full_cells: Sequence[Cell],
    results: Sequence[RunResult | None],
) -> None:
    """Write the pictures and the page.

    Args:
      folder: where they go.
      cells: the cells.
      full_cells: the same at full size.
      results: their results; None for those that were not run.

    Raises:
      PictureError: a picture cannot be read.
      OSError: a file cannot be written.
    """
    for cell, result in zip(cells, results, strict=True):
        if result and result.record:
            write_picture(picture_path(folder, cell), result)
    shown = [on_sheet(folder, *parts) for parts in zip(cells, full_cells, results, strict=True)]
    sheet.write(folder / PAGE, TITLE, shown, Path.cwd())


def write_picture(output: Path, result: RunResult) -> None:
    """Copy the picture and the record of a finished transfer, unless they are there already."""
    targets = run_folder.result_paths(output)
    sources = run_folder.result_paths(result.output)
    if not all(
        target.exists() and filecmp.cmp(source, target, shallow=False)
        for source, target in zip(sources, targets, strict=True)
    ):
        contents = [source.read_bytes() for source in sources]
        files.write_together(dict(zip(targets, contents, strict=True)))


def on_sheet(folder: Path, cell: Cell, full: Cell, result: RunResult | None) -> sheet.Cell:
    """Return what the page shows of a cell.

    Args:
      folder: folder of the page.
      cell: the cell.
      full: the same at full size.
      result: its result; None if it was not run.
    """
    output = picture_path(folder, full)
    command = ["gatys-norm", *cli_flags.words_of(full.config), f"--output={output}"]
    if result is None or result.record is None:
        return sheet.Cell(cell.labels, command, error=result.error if result else None)
    measures = exploration.measures_of(result.record)
    return sheet.Cell(cell.labels, command, picture_path(folder, cell), measures)
