"""The command `gatys-norm timelapse`: the snapshots of a run as an animated WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from absl import flags
from PIL import Image
from tqdm import tqdm

from gatys_norm import files
from gatys_norm.cli import errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import MIN_SIDE, resize, size_for_long_side
from gatys_norm.runs import folder as run_folder

USAGE = """Turn the snapshots of a run into an animated WebP.

    gatys-norm --content=C.jpg --style=S.jpg --output=out.png --snapshot_every=10
    gatys-norm timelapse --output=out.png

Takes the snapshots next to out.png, out-00010.png and so on, in the order of their iterations, all
at the size of out.png, which comes last and is held. Snapshots that an earlier run left there are
taken too.
"""
LARGEST_SIDE = 16383  # of a WebP
ENCODING = {"quality": 90, "method": 4}


def run(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name. Returns the exit code."""
    return program.call(USAGE, timelapse, argv, define_flags, flags.FlagValues())


def define_flags(values: flags.FlagValues) -> None:
    """Add the flags of this command, which has none of the flags of a transfer."""
    cli_flags.define_path("output", None, "the finished picture of the run", values)
    explanation = "animation to write, .webp; default out-timelapse.webp for out.png"
    cli_flags.define_path("timelapse", None, explanation, values)
    for name, default, least, most, explanation in (
        ("frame_ms", 200, 10, 60_000, "milliseconds of each snapshot"),
        ("hold_ms", 3000, 10, 60_000, "milliseconds of the finished picture"),
        ("long_side", None, MIN_SIDE, LARGEST_SIDE, "shrink to this many pixels"),
    ):
        flags.DEFINE_integer(name, default, explanation, least, most, flag_values=values)
    flags.DEFINE_bool("loop", True, "start again at the end", flag_values=values)


def timelapse(values: flags.FlagValues) -> int:
    """Find the snapshots and write the animation."""
    output = Path(cli_flags.required(values, "output"))
    paths, sizes = find_pictures(output)
    target = Path(values.timelapse or run_folder.derived_path(output, "-timelapse.webp"))
    check_target(target, paths, is_named=bool(values.timelapse))
    long_side = min(max(sizes[-1]), values.long_side or LARGEST_SIDE)
    shape = size_for_long_side(*sizes[-1], long_side)
    durations = [values.frame_ms] * (len(paths) - 1) + [values.hold_ms]
    try:
        with refusing(picture_io.PictureError), files.open_atomically(target) as file:
            write(file, paths, shape, durations, values.loop)
    except OSError as error:
        return errors.report_unwritten(target, error, "the snapshots are as they were")
    print(f"{len(paths)} pictures, {sum(durations) / 1000:g} s: {target}")
    return 0


def find_pictures(output: Path) -> tuple[list[Path], list[tuple[int, int]]]:
    """Return the paths of the snapshots and of the finished picture, and their (height, width)."""
    with refusing(picture_io.PictureError, OSError, prefix="--output: "):
        picture_io.check_output_suffix(output)
        paths = [*run_folder.snapshots(output).values(), output]
        sizes = [picture_io.read_size(path) for path in paths]
    if len(paths) == 1:
        snapshot = run_folder.snapshot_path(output, 10).name
        raise InputError(
            f"--output: {output}: has no snapshots next to it, such as {snapshot}; "
            "a run with --snapshot_every leaves them"
        )
    return paths, sizes


def check_target(target: Path, paths: Sequence[Path], is_named: bool) -> None:
    """Refuse an animation that cannot be written, or would replace a file of another program.

    Args:
      target: path of the animation.
      paths: paths of the pictures that it is made of.
      is_named: whether the user gave the name, and so may replace any file.
    """
    if target.suffix.lower() != ".webp":
        raise InputError(f"--timelapse: {target}: the name of an animation ends in .webp")
    with refusing(run_folder.OutputError, prefix="--timelapse: "):
        run_folder.check_output(target, paths)
    if not is_named:
        with refusing(run_folder.OutputError, prefix="--output: "):
            run_folder.check_ours(target, run_folder.is_our_picture)


def write(
    file: BinaryIO,
    paths: Sequence[Path],
    shape: tuple[int, int],
    durations: Sequence[int],
    loop: bool,
) -> None:
    """Write an animation.

    Args:
      file: open for writing bytes.
      paths: paths of the pictures, at least two.
      shape: (height, width) of the animation.
      durations: milliseconds, one number per picture.
      loop: whether it starts again at the end.

    Raises:
      PictureError: a picture cannot be read.
      OSError: the disk is full, and so on.
    """
    with tqdm(total=len(paths), unit="picture", disable=None) as bar:
        frames = Frames(paths, shape, bar)
        frames.save(
            file,
            "WEBP",
            exif=picture_io.mark(),
            save_all=True,
            duration=durations,
            loop=0 if loop else 1,
            **ENCODING,
        )


class Frames(Image.Image):
    """Picture files as the frames of one picture, which Pillow reads one after another."""

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int], bar: tqdm) -> None:
        super().__init__()
        self.paths, self.shape, self.bar, self.n_frames = paths, shape, bar, len(paths)
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Decode a frame, which replaces the previous one."""
        pixels = resize(picture_io.load_picture(self.paths[frame]), *self.shape)
        picture = Image.fromarray(np.rint(pixels).astype(np.uint8))
        self.im, self._mode, self._size = picture.im, picture.mode, picture.size
        self.frame = frame
        self.bar.update(max(0, frame + 1 - self.bar.n))  # Pillow seeks back at the end

    def tell(self) -> int:
        """Return the number of the frame."""
        return self.frame
