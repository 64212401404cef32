"""Make the pictures of docs/film.md: a film of a journey over a picture.

    python scripts/benchmarks/film_gallery.py --update

Makes the film with and without the temporal term, and each frame alone. Writes film.jpg, a sheet
with the differences of two frames, and film.webp, in which film and result move, into
results/film_gallery (`--output`), and the films below it; those that are finished there are not
made again. With --update, both pictures go into docs/. Of the flags of a transfer it has --content,
--style, --weights, --size and --iterations; the other settings are the defaults.
"""

import dataclasses
import sys
from pathlib import Path
from typing import NamedTuple

import film_measures
import numpy as np
import report as benchmark_report
from absl import flags
from film_measures import Film
from PIL import Image

from gatys_norm import files
from gatys_norm.cli import console, errors, program
from gatys_norm.cli import film as film_command
from gatys_norm.film.settings import FilmConfig
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io

DOCS = benchmark_report.ROOT / "docs"
SHEET, ANIMATION = "film.jpg", "film.webp"
CELL_WIDTH = 240  # pixels of a picture in the sheet
GAIN = 4  # of the differences
SHOWN = 2  # number of the second frame in the sheet, counted from 0
FRAME_MS, GAP = 80, 8  # milliseconds per frame; pixels between film and result
QUALITY = 75
LARGEST_ANIMATION = 1_000_000  # bytes
# (left, top, width) of what the first and the last frame show, as shares of the picture's width
# and height; the height follows.
FIRST_VIEW, LAST_VIEW = (0.02, 0.05, 0.9), (0.3, 0.25, 0.6)


class Journey(NamedTuple):
    """A clip: a camera that moves over a picture and comes nearer.

    Attributes:
      path: of the picture.
      side: long side of a frame in pixels.
      count: number of frames.
    """

    path: str
    side: int
    count: int

    def frame(self, index):
        """Return a frame, uint8 H × W × 3."""
        share = index / (self.count - 1)
        left, top, width = (
            (1 - share) * first + share * last
            for first, last in zip(FIRST_VIEW, LAST_VIEW, strict=True)
        )
        pixels = np.rint(picture_io.load_picture(self.path)).astype(np.uint8)
        picture = Image.fromarray(pixels)
        scale = self.side / max(picture.size)
        box = (left, top, left + width, top + width)
        corners = tuple(share * side for share, side in zip(box, picture.size * 2, strict=True))
        size = tuple(round(scale * side) for side in picture.size)
        return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, corners))


def define_flags(values):
    """Add the flags of this program."""
    explanation = "number of frames"
    flags.DEFINE_integer("frames", 16, explanation, SHOWN + 1, flag_values=values)
    explanation = "most iterations of each frame after the first"
    flags.DEFINE_integer("later_iterations", 100, explanation, 1, flag_values=values)
    flags.DEFINE_bool("update", False, "write the pictures into docs", flag_values=values)


def gallery(values):
    """Make the films that are not finished, and the pictures of them."""
    film_command.check_packages()
    config = benchmark_report.config_from_flags(values, size=192, iterations=300)
    folder = Path(values.output or "results/film_gallery").resolve()
    with errors.refusing(OSError, prefix="--output: "):
        folder.mkdir(parents=True, exist_ok=True)
    journey = Journey(config.content, config.size[0], values.frames)
    source = folder / "clips" / f"{Path(config.content).stem}-{journey.side}-{journey.count}"
    transfer = dataclasses.replace(config, content=str(source))
    film_config = FilmConfig(transfer, later_iterations=values.later_iterations).resolved()
    rows = benchmark_report.in_own_process(frames_of, Film(journey, film_config), folder)
    targets = [folder, DOCS] if values.update else [folder]
    sheet, animation = sheet_of(rows), [*animated(rows["film"], rows["λ_t = 1"])]
    for target in targets:
        picture_io.save_picture(target / SHEET, sheet)
        size = save_animation(target / ANIMATION, animation)
        print(f"written: {target / SHEET}, {target / ANIMATION} ({size} bytes)")
    if size > LARGEST_ANIMATION:
        raise errors.InputError(f"--frames: the animation has more than {LARGEST_ANIMATION} bytes")


def frames_of(film, folder):
    """Return {name of a row: frames}: of the film, and of its results."""
    without = dataclasses.replace(film.config, temporal_weight=0.0)
    alone = film_measures.frames_alone(film, folder)
    return {
        "film": film_measures.drawn(film),
        "λ_t = 1": film_measures.made(film, folder)[1],
        "λ_t = 0": film_measures.made(film._replace(config=without), folder)[1],
        "frames alone": [picture for _, picture in alone],
    }


def sheet_of(rows):
    """Return two frames of each row, and their difference once the first is moved to the second.

    Args:
      rows: result of `frames_of`, the film first.
    """
    from gatys_norm.film import flow as flows

    earlier, later = (rows["film"][index].astype(np.uint8) for index in (SHOWN - 1, SHOWN))
    motion = flows.motion(earlier, later)
    cells = []
    for frames in rows.values():
        moved = flows.warp(frames[SHOWN - 1], motion.flow)
        difference = GAIN * motion.mask[..., np.newaxis] * np.abs(frames[SHOWN] - moved)
        cells.append([frames[SHOWN - 1], frames[SHOWN], np.minimum(difference, 255)])
    titles = [f"frame {SHOWN}", f"frame {SHOWN + 1}", f"{GAIN} × their difference, moved"]
    return contact_sheet.labeled_grid(list(rows), titles, cells, CELL_WIDTH)


def animated(frames, results):
    """Yield film and result side by side, to the end and back to the beginning."""
    pairs = [*zip(frames, results, strict=True)]
    for frame, result in (*pairs, *pairs[-2:0:-1]):
        gap = np.full((len(frame), GAP, 3), 255, np.float32)
        yield np.rint(np.concatenate([frame, gap, result], axis=1)).astype(np.uint8)


def save_animation(path, pictures):
    """Write an animated WebP that is repeated for ever; return the number of its bytes."""
    first, *others = map(Image.fromarray, pictures)
    with files.open_atomically(path) as file:
        first.save(
            file,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=FRAME_MS,
            loop=0,
            quality=QUALITY,
            exif=picture_io.mark(),
        )
    return path.stat().st_size


if __name__ == "__main__":
    console.leave(program.call(__doc__, gallery, sys.argv, define_flags))
