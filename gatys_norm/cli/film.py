"""The command `gatys-norm film`: a film, one frame after the other."""

from __future__ import annotations

import contextlib
import re
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from absl import flags

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import grid as grid_command
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.cli.film_reporter import FilmReporter
from gatys_norm.config import ConfigError
from gatys_norm.text import duration

if TYPE_CHECKING:
    from gatys_norm.film.checkpoint import State
    from gatys_norm.film.model import FilmFacts
    from gatys_norm.film.run import FilmRun
    from gatys_norm.film.settings import FilmConfig
    from gatys_norm.film.work import Execute
    from gatys_norm.images.inputs import LoadedInputs
    from gatys_norm.web.live import Preview

USAGE = """Restyle a film in the manner of a picture, steady from frame to frame.

    gatys-norm film --content=clip.mp4 --style=S.jpg --output=out.mp4 --size=256
    gatys-norm film --content=frames/ --style=S.jpg --output=out/ --frame_rate=24

--content and --output are film files, or folders of numbered PNG files. Sound, times and colors of
the film are kept. Each frame begins with the one before, moved as the film moves, and is compared
with it by one more term. Finished frames are stored at once: --resume continues a film that was
stopped. With --executor=ray its shots are computed at the same time. Takes the flags of a transfer
as well; --iterations are those of each shot's first frame. Needs the packages of
`pip install gatys-norm[film]`.
"""
REFUSED = {  # {flag of a transfer: why it is not taken}
    "config_from": "the flags give the settings",
    "checkpoint_every": "a film can be resumed at every frame",
    "snapshot_every": "the frames are stored",
    "bit_depth": "frames have 8 bits",
    "dpi": "films have none",
    "projection": "frames are flat pictures",
}
DEFAULT_FRAME_RATE = "25"
KEPT = "the frames so far are kept, continue with --resume"


def run(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name. Returns the exit code."""
    return program.call(USAGE, film, argv, define_flags)


def define_flags(values: flags.FlagValues) -> None:
    """Add the flags of a film, some of them instead of a transfer's flag of the same name."""
    for name, explanation in (
        ("content", "film whose scene is kept: a film file, or a folder of numbered PNG files"),
        ("output", "film to write: .mp4, .mov, .mkv or .webm, or a folder for PNG files"),
    ):
        if name in values:
            delattr(values, name)
        cli_flags.define_path(name, None, explanation, values)
    explanation = "weight of the terms that compare a frame with those before it"
    flags.DEFINE_float("temporal_weight", 1.0, explanation, flag_values=values)
    explanation = "with which frames before it a frame is compared, such as 1,2,4"
    flags.DEFINE_list("temporal_frames", ["1"], explanation, flag_values=values)
    explanation = "most iterations of each frame that begins with the one before"
    flags.DEFINE_integer("later_iterations", 100, explanation, 1, flag_values=values)
    explanation = "how often each shot is gone through, forward and back: steadier, if much moves"
    flags.DEFINE_integer("passes", 1, explanation, flag_values=values)
    explanation = "frames per second of a folder, such as 25 or 30000/1001"
    flags.DEFINE_string("frame_rate", DEFAULT_FRAME_RATE, explanation, flag_values=values)
    flags.DEFINE_bool("sound", True, "copy the sound of the film", flag_values=values)
    grid_command.define_executor(values, "shot")


def film(values: flags.FlagValues) -> int:
    """Check everything that can be checked without TensorFlow, then make the film."""
    for name, reason in REFUSED.items():
        cli_flags.refuse_flags([name], values, reason)
    grid_command.check_executor(values)
    if values.executor != "local":
        cli_flags.refuse_flags(["preview"], values, "with --executor=ray there is no page")
    config = config_from_flags(values)
    output = cli_flags.required(values, "output")
    check_packages()
    facts, inputs = check_and_load(config, output, values)
    from gatys_norm.runs import folder as run_folder

    began = time.monotonic()
    with (
        transfer_command.previewing(values) as preview,
        refusing(run_folder.OutputError, prefix="--output: "),
        run_folder.locked(output),
    ):
        return _make(config, facts, inputs, output, values, preview, began)


def check_packages() -> None:
    """Refuse to work without the packages of the extra `film`."""
    with refusing(ImportError, prefix="pip install gatys-norm[film] first: "):
        import av  # noqa: F401
        import cv2  # noqa: F401


def config_from_flags(values: flags.FlagValues) -> FilmConfig:
    """Return the `FilmConfig` that the flags describe.

    Raises:
      InputError: a flag is missing or its value is not valid.
    """
    from gatys_norm.film.settings import FilmConfig

    distances = cli_flags.numbers("temporal_frames", values.temporal_frames, int)
    rate = frame_rate(values.frame_rate)
    transfer = cli_flags.config_from_flags(values)
    with refusing(ConfigError, prefix="--"):
        return FilmConfig(
            transfer,
            values.temporal_weight,
            distances,
            values.later_iterations,
            rate,
            values.passes,
        )


def frame_rate(text: str) -> Fraction:
    """Return a number of frames per second, such as 25, 23.976 or 30000/1001.

    Raises:
      InputError: it is no such number.
    """
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}|/[0-9]{1,6})?", text):
        with contextlib.suppress(ZeroDivisionError):
            return Fraction(text)
    raise InputError(f"--frame_rate: must be a number such as 25 or 30000/1001, not {text!r}")


def check_and_load(
    config: FilmConfig, output: str, values: flags.FlagValues
) -> tuple[FilmFacts, LoadedInputs]:
    """Refuse files that cannot be read or written, before TensorFlow is loaded.

    Returns:
      (facts of the film, the pictures).

    Raises:
      InputError: the line names the flag and the file.
    """
    from gatys_norm.film import inputs as film_inputs
    from gatys_norm.film import source, store
    from gatys_norm.film.model import FilmError
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.images.io import PictureError
    from gatys_norm.network import weights
    from gatys_norm.runs import folder as run_folder

    loading.show_warnings()
    with transfer_command.refusing_inputs((FilmError, PictureError), config.transfer):
        facts = source.inspect(config.transfer.content, config.frame_rate)
        first = next(source.read(config.transfer.content, config.frame_rate))
        inputs = film_inputs.load(config, first.pixels)
    with refusing(weights.WeightsError):
        weights.check_path(config.transfer.weights)
    paths = picture_inputs.paths(config.transfer).all()
    sound_of = config.transfer.content if values.sound and facts.sounds else None
    with refusing(run_folder.OutputError, FilmError, prefix="--output: "):
        store.check_output(output, paths, sound_of, values.resume)
    return facts, inputs


def _make(
    config: FilmConfig,
    facts: FilmFacts,
    inputs: LoadedInputs,
    output: str,
    values: flags.FlagValues,
    preview: Preview | None,
    began: float,
) -> int:
    """Make the film, with a progress bar; return the exit code."""
    from gatys_norm.film.model import FilmError
    from gatys_norm.runs import folder as run_folder

    library = loading.start_tensorflow()
    from gatys_norm.film.run import FilmRun
    from gatys_norm.film.work import ShotError
    from gatys_norm.network import strips

    input_errors = (*library.INPUT_ERRORS, FilmError)
    try:
        with (
            transfer_command.refusing_inputs(input_errors, config.transfer),
            console.signals_noted() as received,
            contextlib.closing(FilmReporter(received, output, config, preview)) as reporter,
            strips.watched_by(reporter.on_strip),
            _executor_from_flags(values) as execute,
        ):
            run = FilmRun(config, facts, inputs)
            state = _state(run, output, values.resume, reporter)
            record = run.run(output, state, reporter.on_progress, values.sound, execute)
    except OSError as error:
        return errors.report_unwritten(output, error, KEPT)
    except ShotError as error:
        print(f"gatys-norm film: {error}; {KEPT}", file=sys.stderr)
        return errors.FAILED
    if preview is not None:
        preview.end(record["status"])
    if record["frames"]:
        _draw_curves(output, record)
    if record["status"] == "interrupted":
        return _report_interrupted(output, record, received)
    seconds = duration(time.monotonic() - began)
    print(f"completed in {seconds}: {output}, record in {run_folder.record_path(output)}")
    return 0


@contextlib.contextmanager
def _executor_from_flags(values: flags.FlagValues) -> Iterator[Execute]:
    """Yield the argument `execute` of `FilmRun.run`, connected until the context ends."""
    from gatys_norm.film.work import execute_here

    with grid_command.connected_from_flags(values) as is_connected:
        if not is_connected:
            yield execute_here
            return
        from gatys_norm.experiments import ray_films

        yield ray_films.executor(values.cpus_per_cell, values.gpus_per_cell)


def _state(run: FilmRun, output: str, resume: bool, reporter: FilmReporter) -> State:
    """Return the state of the film that is resumed, or that of a new one."""
    from gatys_norm.runs.checkpoint import CheckpointError
    from gatys_norm.runs.identity import CheckpointMismatchError

    if not resume:
        return run.begin(reporter.on_frame)
    with refusing(CheckpointError, CheckpointMismatchError, prefix="--resume: "):
        return run.resume(output)


def _draw_curves(output: str, record: dict[str, Any]) -> None:
    """Write the picture of the measures by frame; if that fails, warn, as the film is there."""
    from gatys_norm.film import store
    from gatys_norm.images import io as picture_io
    from gatys_norm.report import plots

    path = store.curves_path(output)
    try:
        picture_io.save_picture(path, plots.film_curves(record["frames"]))
    except OSError as error:
        reason = errors.reason(error)
        warnings.warn(f"{path}: could not be written ({reason})", stacklevel=2)


def _report_interrupted(output: str, record: dict[str, Any], received: Sequence[int]) -> int:
    count = len(record["frames"])
    if count:
        print(f"interrupted; the {count} frames so far are {output}, continue with --resume")
    else:
        print("interrupted before the first frame was done")
    return 128 + received[0]
