"""What the benchmarks share: flags, processes, progress, the machine, reports and pages."""

import concurrent.futures
import dataclasses
import datetime
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

import psutil
from absl import flags
from tqdm import tqdm

from gatys_norm import files, machine
from gatys_norm.cli import errors, loading
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import ConfigError, TransferConfig
from gatys_norm.network import weights
from gatys_norm.report import markdown
from gatys_norm.runs import folder as run_folder
from gatys_norm.text import replace_between

ROOT = Path(__file__).resolve().parents[2]
STYLES = tuple(  # of which most benchmarks take all
    str(ROOT / "data" / f"{name}.jpg")
    for name in ("flowing_strokes", "angular_planes", "soft_washes")
)
PACKAGES = ("tensorflow", "tensorflow-probability")
KINDS = {"avx2": "AVX2", "avx512": "AVX512", "amx": "AMX", "gpu": "GPU"}  # with their headings
FEATURES = {"amx": "amx_bf16", "avx512": "avx512f", "avx2": "avx2"}  # the widest first
BFLOAT16_FEATURES = {"avx512_bf16", "amx_bf16"}
LIMITS = {"amx": "amx", "avx512": "avx512", "avx10": "avx512", "avx2": "avx2"}  # oneDNN's words
TAKEN = ("content", "style", "weights", "size", "iterations", "output", "flagfile")
# TensorFlow's variables for a process whose CPU seconds are compared.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
SECONDS_BETWEEN_LINES = 30  # of a progress bar that is not on a terminal

Machine: TypeAlias = dict[str, Any]  # plain JSON values
P = ParamSpec("P")
T = TypeVar("T")


class Destination(NamedTuple):
    """Where a benchmark's report goes.

    Attributes:
      name: name of the benchmark, in the markers on pages.
      output: path of the report, a .json; tables go next to it, into a .md.
      pages: pages into which --update writes tables; empty without --update.
      kind: kind of processor, a key of `KINDS`; each has its own place on a page.
    """

    name: str
    output: Path
    pages: Sequence[Path]
    kind: str


def define_styles(
    values: flags.FlagValues, explanation: str = "style pictures, one after another"
) -> None:
    """Add the flag --styles, by default the sample pictures `STYLES`."""
    flags.DEFINE_list("styles", list(STYLES), explanation, flag_values=values)


def define_update(values: flags.FlagValues, pages: Sequence[Path]) -> None:
    """Add the flag --update."""
    names = " and ".join(page.name for page in pages)
    flags.DEFINE_bool("update", False, f"write the tables into {names}", flag_values=values)


def config_from_flags(
    values: flags.FlagValues,
    size: int,
    iterations: int,
    extra_flags: Sequence[str] = (),
    **settings: Any,
) -> TransferConfig:
    """Return the settings that all transfers of a benchmark share.

    Args:
      values: parsed flags; of the flags of a transfer only `TAKEN` are allowed.
      size, iterations: defaults of these two flags.
      extra_flags: further flags of a transfer that are allowed.
      settings: settings that the benchmark sets itself.

    Raises:
      InputError: another flag was given, or a value is not valid.
    """
    cli_flags.take_only((*TAKEN, *extra_flags), values, "the benchmark sets it itself")
    defaults = {
        "content": str(ROOT / "data" / "river_town.jpg"),
        "style": (str(ROOT / "data" / "flowing_strokes.jpg"),),
        "size": (size,),
        "iterations": (iterations,),
    }
    absent = {name: value for name, value in defaults.items() if not values[name].present}
    config = cli_flags.config_from_flags(values, **settings, **absent)
    if len(config.size) > 1:
        raise errors.InputError("--size: must be one size")
    return config


def sizes_from_flag(name: str, words: Iterable[str], config: TransferConfig) -> tuple[int, ...]:
    """Return the sizes that a flag names, in order."""
    sizes = tuple(sorted(set(cli_flags.numbers(name, words, int))))
    with errors.refusing(ConfigError, prefix=f"--{name}: "):
        dataclasses.replace(config, size=sizes)
    return sizes


def in_own_process(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call a function in a new process: nothing is loaded yet, and a GPU is free afterwards."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments, **keywords).result()


def say(text: str) -> None:
    """Write a message to standard error."""
    print(text, file=sys.stderr, flush=True)


def progress_bar(title: str, total: int | None = None) -> tqdm:
    """Return a progress bar on standard error, which is updated rarely if it is not a terminal."""
    interval = 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES
    return tqdm(desc=title, total=total, mininterval=interval)


def prepare(
    values: flags.FlagValues, name: str, pages: Sequence[Path], weights_source: str
) -> tuple[Destination, Machine]:
    """Check that a report can be written, and describe the machine, before the work starts.

    Args:
      values: parsed flags, which include --output and --update.
      name: name of the benchmark.
      pages: pages into which --update writes.
      weights_source: value of --weights.

    Raises:
      InputError: the report cannot be written, or the weights are not available.
    """
    load_before = os.getloadavg()[0]
    output = report_path(values.output or f"results/{name}.json")
    described = in_own_process(describe_machine, weights_source, load_before)
    destination = Destination(name, output, pages if values.update else (), described["kind"])
    for page in destination.pages:
        update(page, markers(name, described["kind"]))
    return destination, described


def finish(destination: Destination, report: Mapping[str, Any], tables: str) -> None:
    """Write a report, show its tables, and update the pages.

    Args:
      destination: see `prepare`.
      report: plain JSON values.
      tables: all of it as Markdown.
    """
    output, markdown_output = destination.output, destination.output.with_suffix(".md")
    contents = {output: json.dumps(report, indent=1), markdown_output: tables + "\n"}
    files.write_together({path: text.encode() for path, text in contents.items()})
    print(tables)
    print(f"\nwritten: {', '.join(map(str, contents))}")
    for page in destination.pages:
        section = f"### {KINDS[destination.kind]}\n\n{tables}"
        update(page, markers(destination.name, destination.kind), section)


def markers(name: str, kind: str) -> tuple[str, str]:
    """Return the lines around the tables of a benchmark, for a kind of processor, on a page."""
    return f"<!-- {name} {kind} -->", f"<!-- end {name} {kind} -->"


def describe_machine(weights_source: str, load_before: float) -> Machine:
    """Return what a reader needs to judge the figures, and the weights that are used.

    Args:
      weights_source: value of --weights.
      load_before: load average before the start of the benchmark.
    """
    loading.start_tensorflow()
    from gatys_norm.network import device

    with errors.refusing(weights.WeightsError):
        weights_source = weights.locate(weights_source).source
    environment = device.environment()
    limit = onednn_limit(environment["variables"])
    return {
        **environment,
        "kind": "gpu" if device.gpus() else processor_kind(environment["instruction_sets"], limit),
        "processor": machine.processor().get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "weights": weights_source,
        "date": datetime.date.today().isoformat(),
        "load_before": load_before,
    }


def onednn_limit(variables: Mapping[str, str]) -> str:
    """Return the widest instruction set that oneDNN may use, in its own words; "" for any."""
    return variables.get("ONEDNN_MAX_CPU_ISA") or variables.get("DNNL_MAX_CPU_ISA") or ""


def processor_kind(instruction_sets: Iterable[str], limit: str = "") -> str:
    """Return the kind of a processor by the widest instruction set that is used.

    Args:
      instruction_sets: those that it has; see `machine.INSTRUCTION_SETS`.
      limit: result of `onednn_limit`.

    Returns:
      A key of `KINDS`; "other" if it has none of the instruction sets, or may use none.
    """
    kinds = [kind for kind, feature in FEATURES.items() if feature in set(instruction_sets)]
    if limit.lower() not in ("", "all", "default"):
        widest = next((kind for word, kind in LIMITS.items() if word in limit.lower()), None)
        allowed = list(FEATURES)[list(FEATURES).index(widest) :] if widest else []
        kinds = [kind for kind in kinds if kind in allowed]
    return next(iter(kinds), "other")


def precisions(described: Machine) -> tuple[str, ...]:
    """Return the number formats that this kind of processor computes in itself."""
    features = set(described["instruction_sets"])
    has_bfloat16 = described["kind"] == "gpu" or (
        described["kind"] in ("avx512", "amx") and not features.isdisjoint(BFLOAT16_FEATURES)
    )
    return ("float32", "bfloat16") if has_bfloat16 else ("float32",)


def machine_line(described: Machine, *more_packages: str) -> str:
    """Return the machine, the versions and the date in one sentence."""
    packages = [f"{name} {described['packages'][name]}" for name in PACKAGES]
    processor = f"{described['processor']}, {described['cores']} cores"
    settings = [f"{name}={value}" for name, value in described["variables"].items()]
    settings += [] if described["onednn"] else ["without oneDNN"]
    features = "; ".join([", ".join(described["instruction_sets"]), *settings])
    return (
        f"{described['date']}, {described['device']}: {processor} ({features}), "
        f"{described['memory_gib']} GiB, {described['system']}, Python {described['python']}, "
        f"{', '.join([*packages, *more_packages])}, weights {described['weights']}; "
        f"load average before the start {described['load_before']:.2f}."
    )


def settings_line(settings: Mapping[str, Any], transfers: Iterable[Mapping[str, Any]]) -> str:
    """Return the size, the iterations and the styles of transfers in one sentence.

    Args:
      settings: `TransferConfig.as_dict` of all.
      transfers: facts of each, with the name of its "style".
    """
    styles = ", ".join(dict.fromkeys(facts["style"] for facts in transfers))
    (size,), (iterations,) = settings["size"], settings["iterations"]
    return f"Size {size}, {iterations} iterations; styles: {styles}."


def table(titles: str, rows: Iterable[str]) -> str:
    """Return a Markdown table; a row is one string with | between its cells."""
    columns, *cells = ([cell.strip() for cell in row.split("|")] for row in (titles, *rows))
    return markdown.table(columns, cells)


def report_path(name: str) -> Path:
    """Return the path that --output names, a .json; tables go next to it, into a .md."""
    output = Path(name)
    if output.suffix != ".json":
        raise errors.InputError(f"--output: {name}: must end in .json")
    with errors.refusing(OSError, prefix="--output: "):
        output.parent.mkdir(parents=True, exist_ok=True)
    if output.is_dir() or not files.can_be_written_to(output.parent):
        raise errors.InputError(f"--output: {name}: cannot be written")
    with errors.refusing(run_folder.OutputError, prefix="--output: "):
        run_folder.check_ours(output.with_suffix(".md"), lambda _: _is_report(output))
    return output


def _is_report(path: Path) -> bool:
    try:
        return {"machine", "settings"} <= set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def update(page: Path, markers: tuple[str, str], text: str | None = None) -> None:
    """Write text between two markers of a page, or only check that the page has them.

    Args:
      page: path of the page.
      markers: the lines before and after the text.
      text: text to write; None to check only.
    """
    with errors.refusing(OSError, ValueError, prefix=f"--update: {page.name}: "):
        changed = replace_between(page.read_text(encoding="utf-8"), *markers, f"\n{text or ''}\n")
        if text is not None:
            files.write_atomically(page, changed.encode())


def with_weights(configs: Iterable[TransferConfig], described: Machine) -> list[TransferConfig]:
    """Return resolved settings with the weights that the machine was described with."""
    return [
        dataclasses.replace(config, weights=described["weights"]).resolved() for config in configs
    ]


def finished_transfers(
    configs: Sequence[TransferConfig], folder: Path
) -> dict[TransferConfig, Any]:
    """Run the transfers that are not finished in a folder, in this process.

    Returns:
      {settings: result} of all.

    Raises:
      InputError: a transfer failed.
    """
    loading.start_tensorflow()
    from gatys_norm.experiments import grid

    results = {}
    with progress_bar("transfers", len(configs)) as bar:
        for result in grid.run_grid(configs, folder):
            if result.error:
                raise errors.InputError(result.error)
            results[result.config] = result
            bar.update()
    return results
