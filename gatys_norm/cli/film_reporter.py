"""Shows how far a film is, and stops it."""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING

from gatys_norm.cli import console, reporter
from gatys_norm.text import duration

if TYPE_CHECKING:
    from tqdm import tqdm

    from gatys_norm.film.progress import FilmProgress
    from gatys_norm.film.settings import FilmConfig
    from gatys_norm.transfer import Progress
    from gatys_norm.web.live import Preview


class FilmReporter:
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
        self.shown = ""  # the title on the page of the preview
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
            self.bar = reporter.progress_bar(100, "{percentage:3.0f}%|{bar:30}| {desc}")
        self.bar.set_description_str(description(progress), refresh=False)
        self.bar.update(100 * progress.share - self.bar.n)
        if self.preview is not None and progress.transfer is not None:
            self._show_on_page(self.preview, progress, progress.transfer)
        return self._stop_asked()

    def _show_on_page(self, preview: Preview, progress: FilmProgress, transfer: Progress) -> None:
        title = f"{self.output}, frame {progress.frame} of {progress.frames}"
        if progress.passes > 1:
            title += f", pass {progress.pass_number} of {progress.passes}"
        if title != self.shown:
            preview.start(title, self.config.transfer)
            self.shown = title
        preview.update(transfer)

    def _stop_asked(self) -> bool:
        if self.preview is not None and self.preview.stop_asked and not self.received_signals:
            self.received_signals.append(signal.SIGINT)
        return bool(self.received_signals)


def description(progress: FilmProgress) -> str:
    """Return the words next to the bar."""
    left = progress.seconds_left
    words = [
        f"frame {progress.frame}/{progress.frames}",
        f"shot {progress.shot}/{progress.shots}",
        f"{duration(max(left, 0)) if math.isfinite(left) else '?'} left",
    ]
    if progress.passes > 1:
        words.insert(2, f"pass {progress.pass_number}/{progress.passes}")
    if progress.running > 1:
        words.insert(-1, f"{progress.running} shots at once")
    return ", ".join(words)
