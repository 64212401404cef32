"""The main command: flags → settings → one call. The only module that prints or exits."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import types
import typing
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from absl import flags

from gatys_norm import machine, surroundings
from gatys_norm.cli import console
from gatys_norm.config import (
    PRESETS,
    ConfigError,
    Settings,
    TransferConfig,
    from_dict,
    is_list,
)

if TYPE_CHECKING:
    from tqdm import tqdm

    from gatys_norm.files import StrPath
    from gatys_norm.network.memory import Plan
    from gatys_norm.record import Record
    from gatys_norm.transfer import Progress
    from gatys_norm.web.live import Preview

FAILED = 1
BAD_INPUT = 2
PATH_SETTINGS = ("content", "style", "content_masks", "style_masks", "init", "weights")
_Paths = TypeVar("_Paths", str, tuple[str, ...], list[str], None)
USAGE = """Restyle one picture in the manner of another.

    gatys-norm --content=C.jpg --style=S.jpg --output=out.png

Beside out.png goes out.json, the record of the run.
"""


class LoadingError(Exception):
    """TensorFlow or what it needs cannot be loaded; ends in one line and exit code 1."""


class InputError(Exception):
    """Something given on the command line cannot be used; ends in one line and exit code 2."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the main command; returns the exit code."""
    return call(USAGE, transfer_command, sys.argv if argv is None else argv)


def call(
    usage: str,
    command: Callable[..., int | None],
    argv: Sequence[str],
    define_flags: Callable[[flags.FlagValues], object] | None = None,
    values: flags.FlagValues | None = None,
    takes_operands: bool = False,
) -> int:
    """Parse flags, run `command(values)`, and turn everything a user can get wrong into one line.

    Args:
      usage: what `--help` begins with.
      command: called with the parsed flags; returns an exit code or None.
      argv: program name and arguments.
      define_flags: called with the flag values to define more flags.
      values: the `FlagValues` to begin with; the main command's when None.
      takes_operands: `command(values, operands)` is called with the arguments that are no flags,
        which are refused otherwise.

    Returns:
      Exit code.
    """
    program = "gatys-norm" if argv[0].endswith("__main__.py") else os.path.basename(argv[0])
    with console.forgiving_streams():
        try:
            with console.ending_in_order():
                return _run(usage, command, argv, define_flags, values, takes_operands)
        except InputError as error:
            print(f"{program}: {error}", file=sys.stderr)
            return BAD_INPUT
        except LoadingError as error:
            print(f"{program}: {error}", file=sys.stderr)
            return FAILED
        except console.Interrupted as interrupted:
            print(f"{program}: interrupted", file=sys.stderr)
            return 128 + interrupted.number


def _run(
    usage: str,
    command: Callable[..., int | None],
    argv: Sequence[str],
    define_flags: Callable[[flags.FlagValues], object] | None,
    values: flags.FlagValues | None,
    takes_operands: bool,
) -> int:
    values = make_flags() if values is None else define_help(values)
    if define_flags is not None:
        define_flags(values)
    operands = _parse(values, argv)
    if values.help or values.helpshort:
        _print_help(usage, values)
        return 0
    if takes_operands:
        return command(values, operands) or 0
    if operands:
        raise InputError(f"unexpected {operands[0]!r}; everything is given as --flag=value")
    return command(values) or 0


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Fill the flag values; returns the arguments that are no flags."""
    try:
        return values(argv)[1:]
    except UnicodeDecodeError as error:
        raise InputError(f"--flagfile: must hold text in UTF-8 ({error})") from error
    except (flags.Error, ValueError) as error:  # ValueError: --nohelp=x
        raise InputError(" ".join(str(error).split())) from error


def _print_help(usage: str, values: flags.FlagValues) -> None:
    print(f"{usage}\nFlags:")
    for module in values.flags_by_module_dict():
        print(values.module_help(module).split("\n", 2)[2])


def make_flags() -> flags.FlagValues:
    """Return the main command's flags; settings, defaults and help come from `TransferConfig`."""
    values = flags.FlagValues()
    for field in dataclasses.fields(TransferConfig):
        _define_setting(values, field)
    explanation = (
        "settings to begin with: paper (600 iterations in float32) or fast (fewer, in bfloat16, "
        "over frequencies instead of pixels); a flag that is given wins"
    )
    flags.DEFINE_enum("preset", "paper", list(PRESETS), explanation, flag_values=values)
    define_count = functools.partial(flags.DEFINE_integer, lower_bound=0)
    define_path("output", None, "picture to write: .png, .jpg or .webp", values)
    define_path("config_from", None, "take the settings of this .png or .json", values)
    others: Iterable[tuple[Callable[..., object], str, int | None, str]] = (
        (flags.DEFINE_bool, "resume", False, "go on from the checkpoint beside --output"),
        (define_count, "checkpoint_every", 50, "iterations between checkpoints; 0 is none"),
        (define_count, "snapshot_every", 0, "iterations between pictures kept; 0 is none"),
    )
    for define, name, default, explanation in others:
        define(name, default, explanation, flag_values=values)
    explanation = "port of a page on this machine that shows the run and can stop it; 0 is any free"
    flags.DEFINE_integer("preview", None, explanation, 0, 65535, flag_values=values)
    return define_help(values)


def define_help(values: flags.FlagValues) -> flags.FlagValues:
    """Add --help and --helpshort; returns the flag values."""
    for name in ("help", "helpshort"):
        flags.DEFINE_bool(name, False, "show this help", flag_values=values)
    return values


def _define_setting(values: flags.FlagValues, field: dataclasses.Field[Any]) -> None:
    explanation, choices = field.metadata["explanation"], field.metadata["choices"]
    default: Any = field.default
    define: dict[type, Callable[..., object]] = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
    }
    if choices:
        flags.DEFINE_enum(field.name, default, choices, explanation, flag_values=values)
    elif is_list(field):
        default = default and [str(value) for value in default]
        flags.DEFINE_list(field.name, default, explanation, flag_values=values)
    else:
        default = default if default != "" else None
        define[_scalar_type(field)](field.name, default, explanation, flag_values=values)


def _scalar_type(field: dataclasses.Field[Any]) -> Any:
    """The type of a setting, of its elements if it is a list, without the `None` it may allow."""
    kind = field.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind


def config_from_flags(values: flags.FlagValues, **changes: Any) -> TransferConfig:
    """Return the `TransferConfig` that the flags describe.

    With `--config_from` the settings are those of an earlier run; those of a preset that is given
    override them, and flags that are given override both.

    Raises:
      InputError: a flag is missing or its value is not valid.
    """
    settings = _settings_of_run(values.config_from) if values.config_from else {}
    if values["preset"].present:
        settings |= PRESETS[values.preset]
    settings |= _settings_given(values) | changes
    for name in ("content", "style"):
        if not settings.get(name):
            raise InputError(f"--{name}: is needed, the path of a picture")
    with refusing(ConfigError, prefix="--"):
        return TransferConfig(**settings)


def _settings_given(values: flags.FlagValues) -> Settings:
    """The settings whose flags are on the command line."""
    settings: Settings = {}
    for field in dataclasses.fields(TransferConfig):
        flag = values[field.name]
        if flag.present:
            value = flag.value
            if value is not None and is_list(field):
                value = tuple(_convert(field, text) for text in value)
            settings[field.name] = expanded(value) if field.name in PATH_SETTINGS else value
    return settings


def expanded(paths: _Paths) -> _Paths:
    """Return a path, or several, with ~ and ~user replaced by home folders."""
    if isinstance(paths, str):
        return os.path.expanduser(paths)
    return paths and type(paths)(map(os.path.expanduser, paths))


def define_path(
    name: str, default: str | None, explanation: str, flag_values: flags.FlagValues
) -> None:
    """Define a flag whose value is a path, in which ~ stands for the home folder."""
    flags.DEFINE(_PathParser(), name, default, explanation, flag_values)


class _PathParser(flags.ArgumentParser[str]):
    """Expands ~."""

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "string"


def _settings_of_run(path: str) -> Settings:
    from gatys_norm.runs import folder as run_folder

    with refusing(ConfigError, run_folder.RecordError, prefix="--config_from: "):
        config = from_dict(run_folder.load_config(path))
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _convert(field: dataclasses.Field[Any], text: str) -> str | float:
    kind = _scalar_type(field)
    try:
        return kind(text)
    except ValueError as error:
        wanted = "whole numbers" if kind is int else "numbers"
        raise InputError(
            f"--{field.name}: must be {wanted} separated by commas, not {text!r}"
        ) from error


def transfer_command(values: flags.FlagValues) -> int:
    """The main command: one transfer, its picture, its record."""
    config = config_from_flags(values)
    check_outputs([required(values, "output")], config, values)
    with previewing(values) as preview:
        return run_transfer(config, values.output, values, values.resume, preview=preview)


@contextlib.contextmanager
def previewing(values: flags.FlagValues) -> Iterator[Preview | None]:
    """Serve the page of --preview as long as the context lasts.

    Yields:
      What shows a run; None where the flag is not given.
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


def required(values: flags.FlagValues, name: str) -> Any:
    """Return the value of a flag that has no default.

    Raises:
      InputError: it was not given.
    """
    if not values[name].value:
        raise InputError(f"--{name}: is needed, {values[name].help}")
    return values[name].value


def _check_inputs(config: TransferConfig) -> None:
    """Refuse pictures and weights that are not there, before TensorFlow is loaded.

    Raises:
      InputError: the line names the flag and the file.
    """
    from gatys_norm.images import io as picture_io
    from gatys_norm.network import weights

    for name, paths in _pictures_by_flag(config):
        for path in paths:
            with refusing(picture_io.PictureError, prefix=f"--{name}: "):
                picture_io.read_size(path)
    with refusing(weights.WeightsError):
        weights.check_path(config.weights)


def _pictures_by_flag(config: TransferConfig) -> list[tuple[str, tuple[str, ...]]]:
    from gatys_norm.images import inputs as picture_inputs

    paths = picture_inputs.paths(config)
    return [
        ("content", (paths.content,)),
        ("style", paths.styles),
        ("init", () if paths.init is None else (paths.init,)),
        ("content_masks", paths.content_masks),
        ("style_masks", paths.style_masks),
    ]


@contextlib.contextmanager
def _refusing_inputs(errors: tuple[type[Exception], ...], config: TransferConfig) -> Iterator[None]:
    """Turn errors of a transfer into `InputError`, with the flag whose file they name."""
    try:
        yield
    except errors as error:
        message = " ".join(str(error).split())
        raise InputError(_flag_of(message, config) + message) from error


def _flag_of(message: str, config: TransferConfig) -> str:
    """Return `--flag: ` for a message that begins with a path that the flag gave, else nothing."""
    for name, paths in _pictures_by_flag(config):
        if any(message.startswith(f"{path}: ") for path in paths):
            return f"--{name}: "
    return ""


def check_outputs(
    outputs: Iterable[StrPath], config: TransferConfig, values: flags.FlagValues
) -> None:
    """Refuse pictures that cannot be read or written, before any work."""
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.runs import folder as run_folder

    inputs: list[str] = []
    picture_inputs.paths(config).map(inputs.append)
    with refusing(run_folder.OutputError, prefix="--output: "):
        for output in outputs:
            run_folder.check_output(output, inputs, snapshots=values.snapshot_every > 0)
            run_folder.check_derived(output, config, values.snapshot_every, values.resume)
            if values.checkpoint_every:
                run_folder.check_space(output, config)
    _check_inputs(config)


def run_transfer(
    config: TransferConfig,
    output: StrPath,
    values: flags.FlagValues,
    resume: bool,
    preview: Preview | None = None,
) -> int:
    """Run one transfer with progress bar, snapshots and checkpoints, and write its files.

    Args:
      config: `TransferConfig`.
      output: path of the picture to write.
      values: parsed flags, for how often checkpoints and snapshots are kept.
      resume: go on from the checkpoint beside `output`.
      preview: shows the run, and may stop it.

    Returns:
      Exit code: 0, 128 + the signal that interrupted the run, or 1 if the result could not be
      written.
    """
    from gatys_norm.images import io as picture_io
    from gatys_norm.runs import checkpoint as checkpoints
    from gatys_norm.runs import folder as run_folder

    with refusing(run_folder.OutputError, prefix="--output: "), run_folder.locked(output):
        with refusing(checkpoints.CheckpointError, prefix="--resume: "):
            checkpoint = checkpoints.load(run_folder.checkpoint_path(output)) if resume else None
        if checkpoint is not None:
            with refusing(picture_io.PictureError, checkpoints.CheckpointMismatchError):
                checkpoints.check_before_work(checkpoint[1], config)
        if preview is not None:
            preview.begin(output, config)
        transfer = start_tensorflow()
        with (
            _refusing_inputs(transfer.INPUT_ERRORS, config),
            console.signals_noted() as received,
            _Reporter(output, values, received, preview) as reporter,
        ):
            result = transfer.stylize(
                config, reporter, checkpoint, reporter.stops, reporter.show_plan
            )
        try:
            run_folder.save_result(output, result.image, result.record)
        except (OSError, picture_io.PictureError) as error:
            return _report_unsaved(output, error)
        if preview is not None:
            preview.end(result)
        if result.record["status"] == "interrupted":
            goes_on = ", --resume goes on" if run_folder.checkpoint_path(output).exists() else ""
            print(f"interrupted; the picture so far is {output}{goes_on}")
            return 128 + received[0]
        run_folder.checkpoint_path(output).unlink(missing_ok=True)
    _print_terms(result.record)
    print(f"{result.record['status']}: {output}, record in {run_folder.record_path(output)}")
    return 0


def _report_unsaved(output: StrPath, error: Exception) -> int:
    from gatys_norm.runs import folder as run_folder

    checkpoint = run_folder.checkpoint_path(output)
    kept = "nothing of this run is kept"
    if checkpoint.exists():
        kept = f"kept {checkpoint}, --resume goes on from it"
    return report_unwritten(output, error, kept)


def report_unwritten(path: StrPath, error: Exception, kept: str) -> int:
    """Say in one line that a file could not be written and what is kept; returns the exit code."""
    print(f"gatys-norm: {path}: could not be written ({_reason(error)}); {kept}", file=sys.stderr)
    return FAILED


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Reporter:
    """What happens after each piece of iterations: bar, preview, checkpoint, snapshot, stop."""

    def __init__(
        self,
        output: StrPath,
        values: flags.FlagValues,
        received_signals: list[int],
        preview: Preview | None,
    ) -> None:
        self.output = output
        self.checkpoint_every = values.checkpoint_every
        self.snapshot_every = values.snapshot_every
        self.stops = [every for every in (self.checkpoint_every, self.snapshot_every) if every]
        self.received_signals = received_signals
        self.preview = preview
        self.bar: tqdm | None = None
        self.last_iteration: int | None = None

    def __enter__(self) -> _Reporter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, progress: Progress) -> bool:
        from gatys_norm.images import io as picture_io
        from gatys_norm.runs import checkpoint as checkpoints
        from gatys_norm.runs import folder as run_folder

        self._show(progress)
        if self.preview is not None:
            self.preview.update(progress)
            if self.preview.stop_asked:
                self.received_signals.append(signal.SIGINT)
        stop = bool(self.received_signals)
        if stop or self._passed(self.checkpoint_every, progress):
            path = run_folder.checkpoint_path(self.output)
            self._keep(path, checkpoints.save, *progress.checkpoint())
        if self._passed(self.snapshot_every, progress):
            path = run_folder.snapshot_path(self.output, progress.iteration)
            self._keep(path, picture_io.save_picture, progress.image())
        self.last_iteration = progress.iteration
        return stop

    def show_plan(self, plan: Plan) -> None:
        """Print how much memory the transfer will need."""
        how = ", with the first layers in strips to save some" if plan.in_strips else ""
        print(f"needs about {plan.byte_count / 2**30:.1f} GiB of memory{how}")

    def _keep(self, path: Path, save: Callable[..., None], *what: Any) -> None:
        """Save something that the run can do without: a full disk must not cost the result."""
        try:
            save(path, *what)
        except (OSError, ValueError) as error:
            older = "; the older one is kept" if path.exists() else ""
            warnings.warn(f"{path}: could not be written ({_reason(error)}){older}", stacklevel=2)

    def _passed(self, every: int, progress: Progress) -> bool:
        """Whether a multiple of `every` lies in the last piece.

        Pieces end at multiples counted within a size, which need not be multiples of the whole.
        """
        before = progress.iteration - 1 if self.last_iteration is None else self.last_iteration
        return every > 0 and progress.iteration // every > before // every

    def _show(self, progress: Progress) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(
                total=progress.iterations,
                mininterval=0.1 if sys.stderr.isatty() else 30,
                bar_format="{percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt}{postfix}",
            )
        left = f"{progress.seconds_left:.0f} s left"
        self.bar.set_postfix_str(f"loss {progress.loss:.4g}, {left}", refresh=False)
        self.bar.update(progress.iteration - self.bar.n)


def _print_terms(record: Record) -> None:
    width = max(20, *map(len, record["terms"]))
    for term, values in record["terms"].items():
        first, last = (values["coefficient"] * values[when] for when in ("initial", "final"))
        print(f"{term:{width}} {first:12.5g} → {last:.5g}")


def start_tensorflow() -> types.ModuleType:
    """Import TensorFlow without its start-up lines, make it deterministic, return `transfer`."""
    surroundings.drop_coarser_ways()
    warnings.simplefilter("ignore")  # whatever PYTHONWARNINGS says; ours are shown, see below
    with _loading(), console.silent_stderr():
        with surroundings.keras_over_tensorflow():
            from gatys_norm import transfer
        console.raise_if_interrupted()
        transfer.tf.config.experimental.enable_op_determinism()
        if "TF_NUM_INTRAOP_THREADS" not in os.environ:
            with contextlib.suppress(RuntimeError):  # another run of this process has begun
                transfer.tf.config.threading.set_intra_op_parallelism_threads(machine.cores())
        transfer.tf.config.list_logical_devices()  # starts the devices, which is noisy too
    transfer.tf.get_logger().setLevel("ERROR")  # it warns of a graph for every size
    warnings.showwarning = _show_warning
    warnings.simplefilter("default", UserWarning)
    return transfer


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Turn the failure of a heavy import into `LoadingError`."""
    try:
        yield
    except Exception as error:  # a damaged or half-installed package raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        way_out = "install the program and its packages anew"
        if sys.flags.optimize > 1:  # TensorFlow reads its own docstrings
            way_out = "do not let Python drop docstrings (PYTHONOPTIMIZE=2, -OO)"
        raise LoadingError(f"TensorFlow could not be loaded ({reason}); {way_out}") from error


def _show_warning(
    message: Warning | str, category: type[Warning], *_args: object, **_kwargs: object
) -> None:
    from tqdm import tqdm

    if category is UserWarning:
        tqdm.write(f"gatys-norm: warning: {message}", file=sys.stderr)  # makes the bar step aside


@contextlib.contextmanager
def refusing(*errors: type[Exception], prefix: str = "") -> Iterator[None]:
    """Turn the given errors into `InputError`."""
    try:
        yield
    except errors as error:
        raise InputError(prefix + " ".join(str(error).split())) from error


def refuse_flags(names: Iterable[str], values: flags.FlagValues, reason: str) -> None:
    """Raise `InputError` if one of these flags was given."""
    for name in names:
        if values[name].present:
            raise InputError(f"--{name}: is not taken here; {reason}")


def take_only(names: Collection[str], values: flags.FlagValues, reason: str) -> None:
    """Raise `InputError` if a flag of the main command other than these was given."""
    refuse_flags((name for name in make_flags() if name not in names), values, reason)
