"""Films of the clips that the project draws: made once, measured where their motion is known."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import statistics
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import report as benchmark_report

from gatys_norm.cli import loading
from gatys_norm.experiments.statistics import CONTENT_DISTANCE, STYLE_REFLECTION, mean_over_layers
from gatys_norm.film import flow as flows
from gatys_norm.film import measures
from gatys_norm.film.settings import FilmConfig
from gatys_norm.images import io as picture_io
from gatys_norm.runs import folder as run_folder

sys.path.append(str(benchmark_report.ROOT / "data" / "draw"))
import clips


class Film(NamedTuple):
    """A film that is made of a clip.

    Attributes:
      clip: which is drawn into the folder that the settings name as the content.
      config: resolved.
      grain: largest noise of each frame in grey levels.
      is_relative: whether the temporal terms are divided by their energy; if not, they are divided
        by the number of pixels, as in Ruder, Dosovitskiy and Brox.
    """

    clip: clips.Clip
    config: FilmConfig
    grain: int = 0
    is_relative: bool = True


def drawn(film):
    """Draw the frames of a film's clip, unless they are there; return them, uint8."""
    folder = Path(film.config.transfer.content)
    if not folder.is_dir():
        random = np.random.default_rng(0)
        frames = [film.clip.frame(index) for index in range(film.clip.count)]
        noise = random.integers(-film.grain, film.grain + 1, (len(frames), *frames[0].shape))
        grainy = np.clip(frames + noise, 0, 255).astype(np.uint8)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f"{folder.name}.part")
        unfinished.mkdir(exist_ok=True)
        for index, frame in enumerate(grainy):
            picture_io.save_picture(unfinished / f"{index + 1:06d}.png", frame.astype(np.float32))
        unfinished.rename(folder)
    return frames_in(folder)


def frames_in(folder):
    """Return the frames in a folder, float32 H × W × 3."""
    return [picture_io.load_picture(path) for path in sorted(folder.glob("*.png"))]


def output_of(film, folder):
    """Return the folder of frames of a film, named after all that it depends on."""
    facts = json.dumps([film.config.as_dict(), film.is_relative], sort_keys=True)
    digest = hashlib.sha256(facts.encode()).hexdigest()[:12]
    return folder / f"{Path(film.config.transfer.content).name}-{digest}"


def made(film, folder):
    """Make a film, or continue it, unless it is finished; return (record, frames)."""
    output = output_of(film, folder)
    record_path = run_folder.record_path(output)
    if not record_path.is_file():
        drawn(film)
        make(film, output)
    return json.loads(record_path.read_text(encoding="utf-8")), frames_in(output)


def make(film, output):
    """Make a film, or continue it."""
    loading.start_tensorflow()
    from gatys_norm.film.run import FilmRun

    output.parent.mkdir(parents=True, exist_ok=True)
    term = contextlib.nullcontext() if film.is_relative else divided_by_pixels()
    with term:
        run = FilmRun(film.config)
        is_begun = run_folder.checkpoint_path(output).is_file()
        run.run(output, run.resume(output) if is_begun else None)


def divided_by_pixels():
    """Return a context in which the normalized loss's temporal terms are not relative."""
    from gatys_norm.losses import objective

    def coefficients(weight, energies, pixel_count, *_):
        return {term: weight / pixel_count if energy else 0.0 for term, energy in energies.items()}

    return mock.patch.object(objective, "temporal_coefficients", coefficients)


def facts(film, folder):
    """Return the facts of a film as plain JSON values."""
    record, frames = made(film, folder)
    rows, means = record["frames"], record["means"]
    flow_seconds = sum(row["flow_seconds"] for row in rows)
    return facts_of([row["metrics"] for row in rows], film.clip, frames) | {
        "error_where_reliable": means["warping_error"] / means["warping_error_of_film"],
        "evaluations": [row["evaluations"] for row in rows],
        "flow_share": flow_seconds / (flow_seconds + sum(row["seconds"] for row in rows)),
    }


def frames_alone(film, folder, **changes):
    """Transfer each frame of a film's clip as a picture; return (record and picture of each).

    Args:
      film: `Film`.
      folder: where the transfers go.
      changes: settings of the transfers that differ from those of the film.
    """
    drawn(film)
    paths = sorted(Path(film.config.transfer.content).glob("*.png"))
    transfer = dataclasses.replace(film.config.transfer, **changes)
    configs = [dataclasses.replace(transfer, content=str(path)) for path in paths]
    results = benchmark_report.finished_transfers(configs, folder / "alone")
    chosen = [results[config] for config in configs]
    return [(result.record, picture_io.load_picture(result.output)) for result in chosen]


def facts_of_frames_alone(film, folder, **changes):
    """Return the facts of the frames of a film's clip, each made alone; see `frames_alone`."""
    records, pictures = zip(*frames_alone(film, folder, **changes), strict=True)
    return facts_of([record["metrics"] for record in records], film.clip, pictures)


def facts_of(metrics, clip, frames):
    """Return what is measured of all frames, however they were made."""
    return {
        "warping_error": mean_warping_error(clip, frames),
        "style_reflection": statistics.fmean(
            mean_over_layers(of_frame, STYLE_REFLECTION) for of_frame in metrics
        ),
        "content_distances": [mean_over_layers(of_frame, CONTENT_DISTANCE) for of_frame in metrics],
    }


def mean_warping_error(clip, frames):
    """Return the mean warping error of frames of a clip, on the pixels that are truly visible."""
    errors = [
        measures.warping_error(later, before, clip.flow(index, index - 1), visible)
        for index, (before, later) in enumerate(itertools.pairwise(frames), start=1)
        for visible in [clip.visible(index, index - 1)]
    ]
    return measures.mean_error(errors)


def error_of_new_pixels(clip, frames):
    """Return the mean warping error, from the frame before, of what had just come into sight there.

    Args:
      clip: whose motion is known.
      frames: of the clip, at least three.
    """
    errors = []
    for index in range(2, len(frames)):
        flow, is_new = clip.flow(index, index - 1), ~clip.visible(index - 1, index - 2)
        was_new = flows.warp(is_new[..., np.newaxis].astype(np.float64), flow)[..., 0] > 0.5
        visible = was_new & clip.visible(index, index - 1)
        errors.append(measures.warping_error(frames[index], frames[index - 1], flow, visible))
    return measures.mean_error(errors)


def errors_on_disc(film, folder, distance):
    """Return the warping errors of a film on the disc of its clip.

    Args:
      film: `Film` of `clips.returning`.
      folder: where its files go.
      distance: how many frames before the last one the disc was seen as well.

    Returns:
      {"short": mean over all frames, from the frame before; "long": of the last frame, from that at
      the distance}.
    """
    _, frames = made(film, folder)
    last = len(frames) - 1
    short = [error_on_disc(film.clip, frames, index, index - 1) for index in range(1, last + 1)]
    long = error_on_disc(film.clip, frames, last, last - distance)
    return {"short": measures.mean_error(short), "long": long}


def error_on_disc(clip, frames, index, other):
    """Return the warping error of a frame from another one, on the clip's disc; NaN without it."""
    disc = clip.view(index).disc
    if disc is None:
        return math.nan
    points = np.stack(np.meshgrid(*[np.arange(clip.side)] * 2), axis=2)
    is_disc = np.hypot(*np.moveaxis(points - disc, 2, 0)) < clip.radius
    visible = is_disc & clip.visible(index, other)
    return measures.warping_error(frames[index], frames[other], clip.flow(index, other), visible)


def drift(film, folder):
    """Return the mean absolute difference of the last frame from the first, in grey levels."""
    _, frames = made(film, folder)
    return float(np.abs(frames[-1] - frames[0]).mean())


def peer_weight(film, folder):
    """Return the weight with which terms divided by pixels have the coefficients of a film.

    Both coefficients, w · λ_t / E and weight / w, are then equal: with w the number of pixels, and
    E = Σ m ‖x'‖² estimated from the frames and from the share of reliable pixels.
    """
    record, frames = made(film, folder)
    energies = [
        row["reliable_share"] * float(np.square(frame).sum())
        for row, frame in zip(record["frames"][1:], frames[1:], strict=True)
    ]
    pixel_count = math.prod(frames[0].shape[:2])
    return film.config.temporal_weight * pixel_count**2 / statistics.fmean(energies)
