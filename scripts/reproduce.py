"""Run the experiments of Choi and Kim (2020) and show what comes out beside what the paper says.

    python scripts/reproduce.py --figures=all --output_dir=results/reproduction
    python scripts/reproduce.py --figures=2a,6a --content=C.jpg --styles=A.jpg,B.jpg,C.jpg

Writes report.html, claims.json and a picture per figure; every transfer keeps a folder of its own
there, so that the same command goes on where it was stopped, and other settings run anew only what
they touch. Takes the main command's flags as well, except those that the figures set themselves.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import shlex
import sys
from pathlib import Path

from absl import flags
from tqdm import tqdm

from gatys_norm.cli import console
from gatys_norm.cli import main as cli
from gatys_norm.config import ConfigError
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.network import weights

SAMPLES = Path(os.path.relpath(Path(__file__).resolve().parent.parent / "data"))
STYLES = ("flowing_strokes", "angular_planes", "soft_washes")
WRITTEN = {  # under the folder of each flag
    "output_dir": (
        "report.html",
        "claims.json",
        "measurements.json",
        "pairs.csv",
        "figure-*.png",
        "sweep.png",
    ),
    "summary_dir": ("README.md", "claims.json", "figure-*.png", "sweep.png"),
    "shared_dir": (),
}
SET_BY_FIGURES = ("style", "loss", "lambda_os", "output", "config_from", "resume", "snapshot_every")


def define_flags(values):
    """Add the flags of the figures; their defaults are those of `paper_figures.Study`."""
    default = {field.name: field.default for field in dataclasses.fields(paper_figures.Study)}
    define_list = functools.partial(flags.DEFINE_list, flag_values=values)
    define_text = functools.partial(flags.DEFINE_string, flag_values=values)
    define_path = functools.partial(cli.define_path, flag_values=values)
    define_number = functools.partial(flags.DEFINE_float, flag_values=values)

    def define_numbers(name, explanation):
        define_list(name, [f"{value:g}" for value in default[name]], explanation)

    define_list("figures", ["all"], f"all, or some of {', '.join(paper_figures.FIGURES)}")
    define_list("styles", [str(SAMPLES / f"{name}.jpg") for name in STYLES], "the style pictures")
    define_path("output_dir", "results/reproduction", "folder for everything; made if missing")
    define_path("summary_dir", None, "folder for a small version to keep: claims and figures")
    define_numbers("lambdas_original", "λ_os along figure 2(a)")
    define_numbers("lambdas_normalized", "λ_os along figure 6(a)")
    define_numbers("lambdas_by_style", "λ_os of each style in figures 2(b) and 2(c)")
    define_number(
        "lambda_normalized", default["lambda_normalized"], "λ_os in figures 6(b) and 6(c)"
    )
    define_list("sizes", None, "sizes of figures 2(c) and 6(c); default half, once, twice --size")
    define_number("boost", default["boost"], "factor of the raised layer's weight")
    flags.DEFINE_enum(
        "executor",
        "local",
        ["local", "ray"],
        "where transfers run: one after the other here, or as cells of a Ray cluster",
        flag_values=values,
    )
    define_text(
        "ray_address",
        None,
        "a cluster: auto, HOST:PORT or ray://HOST:PORT; default one started here, on loopback",
    )
    define_number("cpus_per_cell", 1.0, "CPU cores of a transfer on Ray")
    define_number("gpus_per_cell", 0.0, "GPUs of a transfer on Ray, as 0.25")
    define_path(
        "shared_dir",
        None,
        "folder that every machine of the cluster sees; transfers are kept there instead of under "
        "--output_dir",
    )


def reproduce(values):
    """Run what is not finished yet, then write figures, claims and page."""
    figures = figures_from_flags(values)
    study = study_from_flags(values)
    folder = Path(values.output_dir)
    check_folders(values)
    check_pictures(study)
    transfer = cli.start_tensorflow()
    with cli.refusing(*transfer.INPUT_ERRORS):
        study = with_found_weights(study)
    from gatys_norm.experiments import reproduction

    configs = reproduction.configs_of(study, figures)
    with executor_from_flags(values) as execute:
        cells_folder = Path(values.shared_dir or folder) / "cells"
        run = functools.partial(run_all, configs, cells_folder, values.checkpoint_every)
        outcomes, signal_number = run(execute)
    if signal_number is not None:
        print(
            f"interrupted; {len(outcomes)} of {len(configs)} transfers are kept in {folder}, the "
            "same command goes on"
        )
        return 128 + signal_number
    done = reproduction.collect(study, figures, outcomes)
    command = shlex.join(["python", os.path.relpath(__file__), *sys.argv[1:]])
    writers = {folder: functools.partial(reproduction.write, folder, done)}
    if values.summary_dir:
        small = Path(values.summary_dir)
        writers[small] = functools.partial(reproduction.write_summary, small, done, command)
    for target, write in writers.items():
        try:
            write()
        except OSError as error:
            kept = "the transfers are kept, the same command goes on"
            return cli.report_unwritten(target, error, kept)
    print_findings(done.findings)
    failed = [outcome for outcome in outcomes.values() if outcome.error]
    for outcome in failed:
        print(f"failed: {outcome.output.parent.name}: {outcome.error}", file=sys.stderr)
    print(f"page: {folder / 'report.html'}")
    return cli.FAILED if failed else 0


def check_folders(values):
    """Make the folders, unless one holds files of others under the names of those to be written."""
    for flag, patterns in WRITTEN.items():
        if values[flag].value:
            folder = Path(values[flag].value)
            with cli.refusing(OSError, prefix=f"--{flag}: "):
                folder.mkdir(parents=True, exist_ok=True)
            found = sorted(path for pattern in patterns for path in folder.glob(pattern))
            if found and not is_ours(folder):
                raise cli.InputError(
                    f"--{flag}: {found[0]}: is there already and was not written by this program; "
                    "choose another folder"
                )


def is_ours(folder):
    """Tell whether an earlier run has written into a folder: it leaves cells, or claims."""
    try:
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        return all({"name", "original", "normalized"} <= set(claim) for claim in claims)
    except (OSError, ValueError, TypeError):
        return any((folder / "cells").glob("*/result.*"))


def check_pictures(study):
    """Refuse pictures that cannot be used at every size, before TensorFlow is loaded."""
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.images import io as picture_io

    sizes = tuple(sorted({*study.base.size, *study.sizes}))
    with cli.refusing(picture_io.PictureError, prefix="--content: "):
        picture_io.read_size(study.base.content)
    for style in study.styles:
        with cli.refusing(picture_io.PictureError, prefix="--styles: "):
            picture_io.read_size(style)
        with cli.refusing(picture_io.PictureError):
            picture_inputs.load(dataclasses.replace(study.base, style=style, size=sizes))


def figures_from_flags(values):
    """Return the names of the wanted figures, in the paper's order."""
    wanted = values.figures
    if wanted == ["all"]:
        return paper_figures.FIGURES
    unknown = [name for name in wanted if name not in paper_figures.FIGURES]
    if unknown or not wanted:
        raise cli.InputError(
            f"--figures: must be all, or some of {', '.join(paper_figures.FIGURES)}, "
            f"not {','.join(unknown)!r}"
        )
    return tuple(name for name in paper_figures.FIGURES if name in wanted)


def study_from_flags(values):
    """Return the `Study` that the flags describe."""
    cli.refuse_flags(SET_BY_FIGURES, values, "the figures set it themselves")
    cli.refuse_flags(("preview",), values, "it shows one transfer at a time")
    if not values.styles:
        raise cli.InputError("--styles: is needed, the paths of the style pictures")
    content = {} if values["content"].present else {"content": str(SAMPLES / "river_town.jpg")}
    styles = tuple(cli.expanded(values.styles))
    base = cli.config_from_flags(values, style=styles[0], **content)
    numbers = {
        name: parsed(values, name, float)
        for name in ("lambdas_original", "lambdas_normalized", "lambdas_by_style")
    }
    size = base.size[0]
    sizes = parsed(values, "sizes", int) if values["sizes"].present else (size // 2, size, 2 * size)
    with cli.refusing(ConfigError, prefix="--"):
        study = paper_figures.Study(
            base,
            styles,
            sizes=sizes,
            lambda_normalized=values.lambda_normalized,
            boost=values.boost,
            **numbers,
        )
        for name in paper_figures.GRIDS:
            paper_figures.grid(study, name)
    return study


def parsed(values, name, kind):
    """Return the numbers of a list flag."""
    try:
        return tuple(kind(text) for text in values[name].value or ())
    except ValueError as error:
        wanted = "whole numbers" if kind is int else "numbers"
        raise cli.InputError(f"--{name}: must be {wanted} separated by commas") from error


def with_found_weights(study):
    """Return the study with the weights that `--weights` leads to, looked for only once."""
    source = weights.locate(study.base.weights).source
    return dataclasses.replace(study, base=dataclasses.replace(study.base, weights=source))


@contextlib.contextmanager
def executor_from_flags(values):
    """Give what `grid_runs.run_grid` takes as `execute`, connected as long as the context lasts."""
    if values.executor == "local":
        yield None
        return
    for name, least in (("cpus_per_cell", sys.float_info.min), ("gpus_per_cell", 0)):
        if not least <= values[name].value < math.inf:
            raise cli.InputError(f"--{name}: must be a number {'above' if least else 'from'} 0")
    from gatys_norm.experiments import ray as ray_executor

    with contextlib.ExitStack() as stack:
        with (
            cli.refusing(ImportError, prefix="--executor=ray: pip install gatys-norm[ray] first: "),
            cli.refusing(ray_executor.ClusterError, prefix="--ray_address: "),
            console.silent_stderr(),
        ):
            stack.enter_context(ray_executor.connected(values.ray_address))
        shared = values.ray_address is None or values.shared_dir is not None
        yield ray_executor.executor(values.cpus_per_cell, values.gpus_per_cell, shared)


def run_all(configs, folder, checkpoint_every, execute):
    """Run the cells behind one bar; returns {config: outcome} and the signal that stopped it."""
    from gatys_norm.experiments import grid as grid_runs

    outcomes = {}
    bar = tqdm(
        total=100,
        mininterval=0.1 if sys.stderr.isatty() else 30,
        delay=1,
        bar_format="{percentage:3.0f}%|{bar:30}| {desc}",
    )
    with console.signals_noted() as received, contextlib.closing(bar):

        def show(progress):
            bar.set_description_str(
                f"{progress.cells_done}/{progress.cells} transfers, {progress.running} running, "
                f"{interval(progress.seconds_left)} left",
                refresh=False,
            )
            bar.update(100 * progress.share - bar.n)
            return bool(received)

        for outcome in grid_runs.run_grid(configs, folder, show, checkpoint_every, execute):
            outcomes[outcome.config] = outcome
            if received:
                break
    return outcomes, (received[0] if received and len(outcomes) < len(configs) else None)


def interval(seconds):
    """Return seconds as a bar shows them."""
    return tqdm.format_interval(seconds) if math.isfinite(seconds) else "?"


def print_findings(findings):
    """Print a line per claim."""

    def number(value):
        return "not measured" if value is None else f"{value:.3g}"

    verdicts = {True: "yes", False: "no", None: "not measured"}
    print(f"{'claim':36}{'original':>14}{'normalized':>14}  as the paper says")
    for finding in findings:
        values = f"{number(finding.original):>14}{number(finding.normalized):>14}"
        print(f"{finding.name:36}{values}  {verdicts[finding.holds]}")


if __name__ == "__main__":
    console.leave(cli.call(__doc__, reproduce, sys.argv, define_flags))
