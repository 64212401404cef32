"""The work after each piece of iterations: bar, preview, checkpoint, snapshot, stop."""

from __future__ import annotations

import math
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gatys_norm import text
from gatys_norm.cli import console, errors

if TYPE_CHECKING:
    from tqdm import tqdm

    from gatys_norm.files import StrPath
    from gatys_norm.network.memory import Plan
    from gatys_norm.transfer import Progress
    from gatys_norm.web.live import Preview

LONG_SECONDS = 60.0  # of a transfer, from which on its time is said before it starts
MEASURED_SECONDS = 2.0  # of iterations, after which the time of several transfers is estimated


class Reporter:
    """Called with the `Progress` of a transfer; returns whether the transfer has to stop.

    As a context manager it closes its bar at the end.
    """

    def __init__(
        self,
        output: StrPath,
        values: flags.FlagValues,
        received_signals: list[int],
        preview: Preview | None,
        later_transfers: int = 0,
    ) -> None:
        self.output = output
        self.checkpoint_every = values.checkpoint_every
        self.snapshot_every = values.snapshot_every
        self.stops = [every for every in (self.checkpoint_every, self.snapshot_every) if every]
        self.received_signals = received_signals
        self.preview = preview
        self.later_transfers = later_transfers
        self.bar: tqdm | None = None
        self.last_iteration: int | None = None
        self.is_stopping = False
        self.postfix = ""  # of the bar, before what is said of an evaluation
        self.shown = time.monotonic()

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, progress: Progress) -> bool:
        from gatys_norm.images import io as picture_io
        from gatys_norm.runs import checkpoint as checkpoints
        from gatys_norm.runs import folder as run_folder

        self._show(progress)
        self._estimate(progress)
        if self.preview is not None:
            self.preview.update(progress)
        stop = self._stop_asked()
        if stop or self._passed(self.checkpoint_every, progress):
            path = run_folder.checkpoint_path(self.output)
            self._keep(path, checkpoints.save, progress.checkpoint(copy=False))
        if self._passed(self.snapshot_every, progress):
            path = run_folder.snapshot_path(self.output, progress.iteration)
            self._keep(path, picture_io.save_picture, progress.image())
        self.last_iteration = progress.iteration
        return stop

    def on_strip(self, share: float) -> None:
        """Show how far a long evaluation is, and end it if a signal asks for that.

        Args:
          share: of the evaluation that is done, 0 to 1.

        Raises:
          Interrupted: there is no picture yet that could be kept.
          EvaluationStoppedError: the run has to end with the picture before this evaluation.
        """
        if self._stop_asked() and not self.is_stopping:
            self.is_stopping = True
            if self.last_iteration is None:
                raise console.Interrupted(self.received_signals[-1])
            from gatys_norm.optimizers.base import EvaluationStoppedError

            self._say("stopping; the picture so far is written")
            raise EvaluationStoppedError
        if self.bar is None:
            self.bar = progress_bar(total=None, bar_format="preparing{postfix}")
        self.bar.set_postfix_str(f"{self.postfix}evaluation {share:.0%}", refresh=False)
        if time.monotonic() - self.shown >= self.bar.mininterval:
            self.bar.refresh()
            self.shown = time.monotonic()

    def on_search(self, share: float) -> None:
        """Show how far the search for λ_os is.

        Args:
          share: of the search that is done, 0 to 1.

        Raises:
          Interrupted: a signal asks to stop, and there is no picture yet that could be kept.
        """
        if self._stop_asked():
            raise console.Interrupted(self.received_signals[-1])
        if self.bar is None:
            self.bar = progress_bar(total=None, bar_format="finding λ_os{postfix}")
        self.bar.set_postfix_str(f"{share:.0%}")

    def _stop_asked(self) -> bool:
        if self.preview is not None and self.preview.stop_asked and not self.received_signals:
            self.received_signals.append(signal.SIGINT)
        return bool(self.received_signals)

    def show_plan(self, plan: Plan) -> None:
        """Print how much memory the largest size will need, and how it is computed."""
        line = f"needs about {plan.byte_count / 2**30:.1f} GiB of memory"
        if math.isfinite(plan.available):
            line += f", {plan.available / 2**30:.1f} GiB are available"
        if plan.strips.rows:
            line += f"; the network is computed in strips of {plan.strips.rows} rows"
        print(line)

    def show_forecast(self, seconds: float) -> None:
        """Print how long the transfer will take, unless that is short, or said with later ones."""
        if seconds >= LONG_SECONDS and not self.later_transfers:
            print(f"takes about {text.duration(seconds)}", flush=True)

    def _keep(self, path: Path, save: Callable[..., None], *contents: Any) -> None:
        """Save an intermediate file; if that fails, warn, and let the run continue."""
        try:
            save(path, *contents)
        except (OSError, ValueError) as error:
            note = "; the older one is kept" if path.exists() else ""
            reason = errors.reason(error)
            warnings.warn(f"{path}: could not be written ({reason}){note}", stacklevel=2)

    def _passed(self, every: int, progress: Progress) -> bool:
        """Tell whether the last piece contains a multiple of `every`, counted over all sizes.

        Pieces end at multiples that are counted within a size.
        """
        before = progress.iteration - 1 if self.last_iteration is None else self.last_iteration
        return every > 0 and progress.iteration // every > before // every

    def _estimate(self, progress: Progress) -> None:
        """Print once how long this transfer and the later ones will take, if there are any."""
        if not self.later_transfers or progress.seconds < MEASURED_SECONDS:
            return
        seconds_per_transfer = progress.seconds + progress.seconds_left
        seconds_left = progress.seconds_left + self.later_transfers * seconds_per_transfer
        line = f"{self.later_transfers + 1} transfers, about {text.duration(seconds_left)} left"
        self._say(line)
        self.later_transfers = 0

    def _say(self, line: str) -> None:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stdout)

    def _show(self, progress: Progress) -> None:
        if self.bar is None or self.bar.total is None:
            if self.bar is not None:
                self.bar.close()
            bar_format = "{percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt}{postfix}"
            self.bar = progress_bar(progress.iterations, bar_format)
        said = f"loss {progress.loss:.4g}, {progress.seconds_left:.0f} s left"
        self.postfix = f"{said}, "
        self.bar.set_postfix_str(said, refresh=False)
        self.bar.update(progress.iteration - self.bar.n)


def progress_bar(total: int | None, bar_format: str) -> tqdm:
    """Return a bar on standard error, which is shown rarely if that is not a terminal."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=total, mininterval=interval, bar_format=bar_format)
