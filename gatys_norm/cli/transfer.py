"""The command `gatys-norm`: one transfer, its picture, its record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from absl import flags

from gatys_norm.cli import console, errors, loading, reporter, viewer
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.record import lambda_os_of
from gatys_norm.text import duration, one_line

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.files import StrPath
    from gatys_norm.images.inputs import LoadedInputs
    from gatys_norm.record import Record
    from gatys_norm.runs.checkpoint import Checkpoint
    from gatys_norm.transfer import Transfer, TransferResult
    from gatys_norm.web.live import Preview

USAGE = """Restyle one picture in the manner of another.

    gatys-norm --content=C.jpg --style=S.jpg --output=out.png

Next to out.png goes out.json, the record of the run.
"""


def define_flags(values: flags.FlagValues) -> None:
    """Add the flags that print facts about the program itself, and --viewer."""
    for name, explanation in (
        ("version", "print the versions of this program and of TensorFlow"),
        ("devices", "print what a transfer would run with: devices, memory, weights, versions"),
    ):
        flags.DEFINE_bool(name, False, explanation, flag_values=values)
    viewer.define_flag(values)


def transfer(values: flags.FlagValues) -> int:
    """Run one transfer, or print facts about the program."""
    from gatys_norm.cli import about

    if values.version:
        print(about.version())
        return 0
    if values.devices:
        print(about.devices(values.weights))
        return 0
    config = cli_flags.config_from_flags(values)
    output = cli_flags.required(values, "output")
    page = viewer.checked_page(output, config, values)
    inputs = check_and_load([output], config, values)
    with previewing(values) as preview:
        code = run_transfer(config, inputs, output, values, values.resume, preview)
    return viewer.write(page, output) if page is not None and code == 0 else code


@contextlib.contextmanager
def previewing(values: flags.FlagValues) -> Iterator[Preview | None]:
    """Serve the page of --preview until the context ends.

    Yields:
      `Preview`, or None if the flag was not given.
    """
    if values.preview is None:
        yield None
        return
    from gatys_norm.web.live import Preview

    with refusing(OSError, prefix=f"--preview: port {values.preview}: "):
        preview = Preview(values.preview)
    with contextlib.closing(preview):
        print(f"preview: {preview.address}", flush=True)
        yield preview


def check_and_load(
    outputs: Iterable[StrPath], config: TransferConfig, values: flags.FlagValues
) -> LoadedInputs:
    """Refuse files that cannot be read or written, before TensorFlow is loaded.

    Args:
      outputs: paths of the pictures to write.
      config: `TransferConfig`.
      values: parsed flags.

    Returns:
      The pictures, which are read only once.

    Raises:
      InputError: the line names the flag and the file.
    """
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.images import io as picture_io
    from gatys_norm.network import weights
    from gatys_norm.runs import folder as run_folder

    paths = picture_inputs.paths(config).all()
    with refusing(run_folder.OutputError, prefix="--output: "):
        for output in outputs:
            run_folder.check_output(output, paths, snapshots=values.snapshot_every > 0)
            run_folder.check_derived(output, config, values.snapshot_every, values.resume)
    with refusing(picture_io.PictureError, prefix="--bit_depth: "):
        for output in outputs:
            picture_io.check_output_suffix(output, int(values.bit_depth))
    inputs = load_inputs(config)
    if values.checkpoint_every:
        with refusing(run_folder.OutputError, prefix="--output: "):
            for output in outputs:
                run_folder.check_space(output, config, inputs.pixel_counts[config.size[-1]])
    with refusing(weights.WeightsError):
        weights.check_path(config.weights)
    return inputs


def load_inputs(config: TransferConfig) -> LoadedInputs:
    """Return the pictures that the settings name.

    Raises:
      InputError: the line names the flag and the file.
    """
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.images.io import PictureError

    loading.show_warnings()
    with refusing_inputs((PictureError,), config):
        return picture_inputs.load(config)


def pictures_by_flag(config: TransferConfig) -> list[tuple[str, tuple[str, ...]]]:
    """Return [(name of a flag, paths of its pictures)] of all pictures that the settings name."""
    from gatys_norm.images import inputs as picture_inputs

    paths = picture_inputs.paths(config)
    return [
        ("content", (paths.content,)),
        ("style", paths.styles),
        ("init", () if paths.init is None else (paths.init,)),
        ("content_masks", paths.content_masks),
        ("style_masks", paths.style_masks),
    ]


def run_transfer(
    config: TransferConfig,
    inputs: LoadedInputs,
    output: StrPath,
    values: flags.FlagValues,
    resume: bool,
    preview: Preview | None = None,
    later_transfers: int = 0,
) -> int:
    """Run one transfer with progress bar, snapshots and checkpoints, and write its files.

    Args:
      config, inputs: `TransferConfig` and its pictures.
      output: path of the picture to write.
      values: parsed flags, which tell how the picture is stored and what is kept on the way.
      resume: whether to continue from the checkpoint next to `output`.
      preview: page that shows the run, and may stop it.
      later_transfers: how many transfers of the same sizes the command runs after this one.

    Returns:
      Exit code: 0; 128 + the signal that interrupted the run; 1 if the result was not written.
    """
    from gatys_norm.network import weights
    from gatys_norm.runs import folder as run_folder

    began = time.monotonic()
    with refusing(run_folder.OutputError, prefix="--output: "), run_folder.locked(output):
        checkpoint = _load_checkpoint(output, config, inputs) if resume else None
        if preview is not None:
            preview.start(output, config)
        weights.hash_ahead(config.weights)
        library = loading.start_tensorflow()
        with (
            refusing_inputs(library.INPUT_ERRORS, config),
            refusing(library.CheckpointMismatchError, prefix="--resume: "),
            console.signals_noted() as received,
            reporter.Reporter(output, values, received, preview, later_transfers) as report,
        ):
            result = _stylize(library.Transfer(config, inputs), checkpoint, report)
        if code := _save_result(output, result, inputs, values):
            return code
        if preview is not None:
            preview.finish(result)
        if result.record["status"] == "interrupted":
            _print_interrupted(output)
            return 128 + received[0]
        run_folder.checkpoint_path(output).unlink(missing_ok=True)
    _print_terms(result.record)
    _print_finished(output, result.record["status"], time.monotonic() - began)
    return 0


def _stylize(
    library_transfer: Transfer, checkpoint: Checkpoint | None, report: reporter.Reporter
) -> TransferResult:
    if checkpoint is not None:
        library_transfer.restore(checkpoint)
    library_transfer.load_network()
    report.show_plan(library_transfer.plan)
    from gatys_norm.network import strips

    with strips.watched_by(report.on_strip):
        return library_transfer.run(report, report.stops, report.show_forecast, report.on_search)


def _load_checkpoint(output: StrPath, config: TransferConfig, inputs: LoadedInputs) -> Checkpoint:
    """Return the checkpoint next to `output`, after the checks that need no TensorFlow."""
    from gatys_norm.runs import checkpoint as checkpoints
    from gatys_norm.runs import folder as run_folder
    from gatys_norm.runs import identity

    mismatch = identity.CheckpointMismatchError
    with refusing(checkpoints.CheckpointError, mismatch, prefix="--resume: "):
        checkpoint = checkpoints.load(run_folder.checkpoint_path(output))
        identity.check(checkpoint.facts, {"pictures": inputs.hashes}, config)
    return checkpoint


@contextlib.contextmanager
def refusing_inputs(types: tuple[type[Exception], ...], config: TransferConfig) -> Iterator[None]:
    """Convert errors of a transfer to `InputError`, with the flag of the file that they name."""
    try:
        yield
    except types as error:
        message = one_line(error)
        raise InputError(_with_flag(message, config)) from error


def _with_flag(message: str, config: TransferConfig) -> str:
    """Return a message, after the flag of the path or the setting with which it begins."""
    for name, paths in pictures_by_flag(config):
        if any(message.startswith(f"{path}: ") for path in paths):
            return f"--{name}: {message}"
    return errors.with_dashes(message)


def _save_result(
    output: StrPath, result: TransferResult, inputs: LoadedInputs, values: flags.FlagValues
) -> int:
    """Write the picture as the flags say, and its record; return an exit code."""
    from gatys_norm.images import io as picture_io
    from gatys_norm.runs import folder as run_folder

    dpi = (values.dpi, values.dpi) if values.dpi else inputs.dpi
    bit_depth = int(values.bit_depth)
    try:
        run_folder.save_result(
            output,
            result.image,
            result.record,
            bit_depth=bit_depth,
            dpi=dpi,
            is_panorama=inputs.is_panorama,
        )
    except (OSError, picture_io.PictureError) as error:
        checkpoint = run_folder.checkpoint_path(output)
        note = "nothing of this run is kept"
        if checkpoint.exists():
            note = f"{checkpoint} is kept, continue with --resume"
        return errors.report_unwritten(output, error, note)
    return 0


def _print_interrupted(output: StrPath) -> None:
    from gatys_norm.runs import folder as run_folder

    resumable = run_folder.checkpoint_path(output).exists()
    note = ", continue with --resume" if resumable else ""
    print(f"interrupted; the picture so far is {output}{note}")


def _print_finished(output: StrPath, status: str, seconds: float) -> None:
    from gatys_norm.runs import folder as run_folder

    print(f"{status} in {duration(seconds)}: {output}, record in {run_folder.record_path(output)}")


def _print_terms(record: Record) -> None:
    width = max(20, *map(len, record["terms"]))
    if record.get("strength_search"):
        reached, lambda_os = record["metrics"]["strength"], lambda_os_of(record)
        print(f"{'strength':{width}} {reached:.2f} with λ_os {lambda_os:.4g}")
    for term, values in record["terms"].items():
        first, last = (values["coefficient"] * values[when] for when in ("initial", "final"))
        print(f"{term:{width}} {first:12.5g} → {last:.5g}")
