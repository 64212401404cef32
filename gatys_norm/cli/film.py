"""The command `gatys-norm film`: a film, one frame after the other."""

from __future__ import annotations

import contextlib
import math
import re
import signal
import time
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from absl import flags

from gatys_norm.cli import console, errors, loading, program, reporter
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.config import ConfigError
from gatys_norm.text import duration

if TYPE_CHECKING:
    from tqdm import tqdm

    from gatys_norm.film.model import FilmFacts
    from gatys_norm.film.run import FilmProgress, FilmRun
    from gatys_norm.film.settings import FilmConfig
    from gatys_norm.film.store import State
    from gatys_norm.images.inputs import LoadedInputs
    from gatys_norm.web.live import Preview

USAGE = """Restyle a film in the manner of a picture, steady from frame to frame.

    gatys-norm film --content=clip.mp4 --style=S.jpg --output=out.mp4 --size=256
    gatys-norm film --content=frames/ --style=S.jpg --output=out/ --frame_rate=24

--content and --output are film files, or folders of numbered PNG files. Sound, times and colors of
the film are kept. Each frame begins with the one before, moved as the film moves, and is compared
with it by one more term. Finished frames are stored at once: --resume continues a film that was
stopped. Takes the flags of a transfer as well; --iterations are those of each shot's first frame.
Needs the packages of `pip install gatys-norm[film]`.
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
    explanation = "frames per second of a folder, such as 25 or 30000/1001"
    flags.DEFINE_string("frame_rate", DEFAULT_FRAME_RATE, explanation, flag_values=values)
    flags.DEFINE_bool("sound", True, "copy the sound of the film", flag_values=values)


def film(values: flags.FlagValues) -> int:
    """Check everything that can be checked without TensorFlow, then make the film."""
    for name, reason in REFUSED.items():
        cli_flags.refuse_flags([name], values, reason)
    config = config_from_flags(values)
    output = cli_flags.required(values, "output")
    with refusing(ImportError, prefix="pip install gatys-norm[film] first: "):
        import av  # noqa: F401
        import cv2  # noqa: F401
    facts, inputs = check_and_load(config, output, values)
    from gatys_norm.runs import folder as run_folder

    began = time.monotonic()
    with (
        transfer_command.previewing(values) as preview,
        refusing(run_folder.OutputError, prefix="--output: "),
        run_folder.locked(output),
    ):
        return _make(config, facts, inputs, output, values, preview, began)


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
            transfer, values.temporal_weight, distances, values.later_iterations, rate
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
    from gatys_norm.network import strips

    input_errors = (*library.INPUT_ERRORS, FilmError)
    with (
        transfer_command.refusing_inputs(input_errors, config.transfer),
        console.signals_noted() as received,
        contextlib.closing(_Reporter(received, output, config, preview)) as reporter,
        strips.watched_by(reporter.on_strip),
    ):
        run = FilmRun(config, facts, inputs)
        state = _state(run, output, values.resume, reporter)
        try:
            record = run.run(output, state, reporter.on_progress, values.sound)
        except OSError as error:
            note = "the frames so far are kept, continue with --resume"
            return errors.report_unwritten(output, error, note)
    if preview is not None:
        preview.end(record["status"])
    if record["frames"]:
        _draw_curves(output, record)
    if record["status"] == "interrupted":
        return _report_interrupted(output, record, received)
    seconds = duration(time.monotonic() - began)
    print(f"completed in {seconds}: {output}, record in {run_folder.record_path(output)}")
    return 0


def _state(run: FilmRun, output: str, resume: bool, reporter: _Reporter) -> State:
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


class _Reporter:
    """Shows how far a film is, and stops it when a signal asks for that."""

    def __init__(
        self,
        received_signals: list[int],
        output: str,
        config: FilmConfig,
        preview: Preview | None,
    ) -> None:
        self.received_signals = received_signals
        self.output = output
        self.config = config
        self.preview = preview
        self.shown_frame = 0  # on the page of the preview; the first one is 1
        self.bar: tqdm | None = None
        self.is_stopping = False

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def on_frame(self, number: int) -> None:
        """Show that the shots are being found.

        Raises:
          Interrupted: a signal asks to end; there is nothing yet to keep.
        """
        if self._stop_asked():
            raise console.Interrupted(self.received_signals[-1])
        if self.bar is None:
            self.bar = reporter.progress_bar(None, "looking for shots: frame {n_fmt}")
        self.bar.update(number - self.bar.n)

    def on_strip(self, share: float) -> None:
        """End a long evaluation if a signal asks for that.

        Args:
          share: of the evaluation that is done, 0 to 1.

        Raises:
          Interrupted: there is nothing yet to keep.
          EvaluationStoppedError: the film has to end with the frame before.
        """
        if self.is_stopping or not self._stop_asked():
            return
        self.is_stopping = True
        if self.bar is not None and self.bar.total is None:
            raise console.Interrupted(self.received_signals[-1])
        from gatys_norm.optimizers.base import EvaluationStoppedError

        raise EvaluationStoppedError

    def on_progress(self, progress: FilmProgress) -> bool:
        """Show the present frame; return whether the film has to stop."""
        if self.bar is None or self.bar.total is None:
            self.close()
            self.bar = reporter.progress_bar(progress.frames, "{percentage:3.0f}%|{bar:30}| {desc}")
        left = progress.seconds_left
        self.bar.set_description_str(
            f"frame {progress.frame}/{progress.frames}, shot {progress.shot}/{progress.shots}, "
            f"{duration(max(left, 0)) if math.isfinite(left) else '?'} left",
            refresh=False,
        )
        self.bar.update(progress.frame - 1 + progress.share - self.bar.n)
        if self.preview is not None:
            self._show_on_page(self.preview, progress)
        return self._stop_asked()

    def _show_on_page(self, preview: Preview, progress: FilmProgress) -> None:
        if progress.frame != self.shown_frame:
            title = f"{self.output}, frame {progress.frame} of {progress.frames}"
            preview.start(title, self.config.transfer)
            self.shown_frame = progress.frame
        preview.update(progress.transfer)

    def _stop_asked(self) -> bool:
        if self.preview is not None and self.preview.stop_asked and not self.received_signals:
            self.received_signals.append(signal.SIGINT)
        return bool(self.received_signals)
