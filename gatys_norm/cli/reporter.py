"""The work after each piece of iterations: bar, preview, checkpoint, snapshot, stop."""

from __future__ import annotations

import math
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gatys_norm import text
from gatys_norm.cli import errors

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
            if self.preview.stop_asked:
                self.received_signals.append(signal.SIGINT)
        stop = bool(self.received_signals)
        if stop or self._passed(self.checkpoint_every, progress):
            path = run_folder.checkpoint_path(self.output)
            self._keep(path, checkpoints.save, progress.checkpoint(copy=False))
        if self._passed(self.snapshot_every, progress):
            path = run_folder.snapshot_path(self.output, progress.iteration)
            self._keep(path, picture_io.save_picture, progress.image())
        self.last_iteration = progress.iteration
        return stop

    def show_plan(self, plan: Plan) -> None:
        """Print how much memory the largest size will need, and how it is computed."""
        line = f"needs about {plan.byte_count / 2**30:.1f} GiB of memory"
        if math.isfinite(plan.available):
            line += f", {plan.available / 2**30:.1f} GiB are available"
        if plan.strips.cover_all:
            line += f"; the network is computed in strips of {plan.strips.rows} rows"
        elif plan.strips.blocks:
            line += "; the first layers are computed in strips"
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
        from tqdm import tqdm

        seconds_per_transfer = progress.seconds + progress.seconds_left
        seconds_left = progress.seconds_left + self.later_transfers * seconds_per_transfer
        line = f"{self.later_transfers + 1} transfers, about {text.duration(seconds_left)} left"
        tqdm.write(line, file=sys.stdout)
        self.later_transfers = 0

    def _show(self, progress: Progress) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(
                total=progress.iterations,
                mininterval=0.1 if sys.stderr.isatty() else 30,
                bar_format="{percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt}{postfix}",
            )
        time_left = f"{progress.seconds_left:.0f} s left"
        self.bar.set_postfix_str(f"loss {progress.loss:.4g}, {time_left}", refresh=False)
        self.bar.update(progress.iteration - self.bar.n)
