"""Running the cells of a grid: each in its own folder, finished ones kept, failures contained."""

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from gatys_norm import runs, transfer
from gatys_norm.config import TransferConfig


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `record` and the picture at `output`, or else `error`, one line."""

    config: TransferConfig
    output: Path
    record: dict | None = None
    error: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far all cells are: `share` of the work is done, in `seconds_left` all of it will be."""

    cells_done: int
    cells: int
    share: float
    seconds_left: float


def output_path(folder, config):
    """Where the picture of a cell goes: a folder named after its settings and pictures.

    The name changes with every setting and with every byte of the pictures, so that a cell found
    there is the one that is wanted.
    """
    files = (config.content, config.style, config.init)
    facts = [config.as_dict(), *(_sha256(file) for file in files)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    style = re.sub(r"[^\w.-]+", "_", Path(config.style).stem)[:40]
    sizes = "-".join(map(str, config.size))
    name = f"{style}_{config.loss}_{config.lambda_os:g}_{sizes}_{digest}"
    return Path(folder) / name / "result.png"


def _sha256(file):
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None


def run_cells(configs, folder, on_progress=None, checkpoint_every=50):
    """Run every cell that is not finished yet, one after the other.

    Args:
      configs: resolved `TransferConfig`s; equal ones run once.
      folder: where the cells' folders are; made if missing.
      on_progress: called with a `Progress` about once a second; returning True stops, which
        leaves a checkpoint for the next call to go on from.
      checkpoint_every: iterations between checkpoints; 0 is none.

    Yields:
      An `Outcome` for each cell as soon as it is known, the finished ones first.
    """
    outputs = {config: output_path(folder, config) for config in configs}
    waiting = []
    for config, output in outputs.items():
        if runs.is_finished(output, config):
            yield _finished(config, output)
        else:
            waiting.append(config)
    clock = _Clock(waiting, len(outputs), on_progress)
    for config in waiting:
        outcome = _run(config, outputs[config], clock, checkpoint_every)
        if outcome is None:
            return
        clock.close_cell()
        yield outcome


class _Clock:
    """Turns the progress of one cell into that of all."""

    def __init__(self, waiting, cells, on_progress):
        self.waiting = waiting
        self.costs = [_cost(config, sum(config.iterations)) for config in waiting]
        self.cells, self.on_progress = cells, on_progress
        self.index = 0
        self.began = time.monotonic()

    def close_cell(self):
        self.index += 1

    def __call__(self, progress):
        if self.on_progress is None:
            return False
        done = sum(self.costs[: self.index]) + _cost(self.waiting[self.index], progress.iteration)
        share = done / sum(self.costs)
        left = (time.monotonic() - self.began) * (1 - share) / share
        cells_done = self.cells - len(self.waiting) + self.index
        return bool(self.on_progress(Progress(cells_done, self.cells, share, left)))


def _cost(config, iterations):
    """What the first `iterations` cost: an iteration takes time in proportion to the pixels."""
    cost = 0
    for count, size in zip(config.iterations, config.size, strict=True):
        cost += min(count, iterations) * size**2
        iterations -= min(count, iterations)
    return cost


def _finished(config, output):
    return Outcome(config, output, json.loads(runs.record_path(output).read_text(encoding="utf-8")))


def _run(config, output, clock, checkpoint_every):
    """Return the `Outcome` of one cell, None if it was stopped."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with runs.locked(output):
            result = _stylize(config, output, clock, checkpoint_every)
            if result.record["status"] == "interrupted":
                return None
            runs.save_result(output, result.image, result.record)
            runs.checkpoint_path(output).unlink(missing_ok=True)
        return _finished(config, output)
    except Exception as error:  # whatever it is, the other cells are worth having
        return Outcome(config, output, error=_one_line(error))


def _stylize(config, output, clock, checkpoint_every):
    path = runs.checkpoint_path(output)

    def on_progress(progress):
        stop = clock(progress)
        stage_ends = checkpoint_every and progress.iteration % checkpoint_every == 0
        if stop or stage_ends:
            runs.save_checkpoint(path, *progress.checkpoint())
        return stop

    stops = (checkpoint_every,) if checkpoint_every else ()
    checkpoint = _checkpoint(path)
    if checkpoint is not None:
        try:
            return transfer.stylize(config, on_progress, checkpoint, stops)
        except transfer.CheckpointMismatchError:
            path.unlink()
    return transfer.stylize(config, on_progress, None, stops)


def _checkpoint(path):
    try:
        return runs.load_checkpoint(path)
    except runs.CheckpointError:
        return None


def _one_line(error):
    text = " ".join(str(error).split())
    return text if isinstance(error, transfer.INPUT_ERRORS) else f"{type(error).__name__}: {text}"
