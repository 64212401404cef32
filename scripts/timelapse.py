"""Turn the snapshots of a run into an animated WebP.

    gatys-norm --content=C.jpg --style=S.jpg --output=out.png --snapshot_every=10
    python scripts/timelapse.py --output=out.png

Takes the snapshots beside out.png, out-00010.png and so on, in the order of their iterations, all
at the size of out.png, which comes last and is held. Snapshots that an earlier run left there are
taken too.
"""

import sys
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image
from tqdm import tqdm

from gatys_norm import files
from gatys_norm.cli import console
from gatys_norm.cli import main as cli
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import MIN_SIDE, resize, size_for_long_side
from gatys_norm.runs import folder as run_folder

LARGEST_SIDE = 16383  # of a WebP
ENCODING = {"quality": 90, "method": 4}


def define_flags(values):
    """Flags of this program, which takes none of the main command's."""
    cli.define_path("output", None, "the finished picture of the run", values)
    explanation = "animation to write, .webp; default out-timelapse.webp for out.png"
    cli.define_path("timelapse", None, explanation, values)
    for name, default, least, most, explanation in (
        ("frame_ms", 200, 10, 60_000, "milliseconds of each snapshot"),
        ("hold_ms", 3000, 10, 60_000, "milliseconds of the finished picture"),
        ("long_side", None, MIN_SIDE, LARGEST_SIDE, "shrink to this many pixels"),
    ):
        flags.DEFINE_integer(name, default, explanation, least, most, flag_values=values)
    flags.DEFINE_bool("loop", True, "begin anew at the end", flag_values=values)


def timelapse(values):
    """Find the pictures and write the animation."""
    output = Path(cli.required(values, "output"))
    target = Path(values.timelapse or run_folder.beside(output, "-timelapse.webp"))
    with cli.refusing(picture_io.PictureError, OSError, prefix="--output: "):
        picture_io.check_output_suffix(output)
        paths = [*run_folder.snapshots(output).values(), output]
        sizes = [picture_io.read_size(path) for path in paths]
    if len(paths) == 1:
        snapshot = run_folder.snapshot_path(output, 10).name
        raise cli.InputError(
            f"--output: {output}: has no snapshots beside it, such as {snapshot}; "
            "a run with --snapshot_every leaves them"
        )
    if target.suffix.lower() != ".webp":
        raise cli.InputError(f"--timelapse: {target}: the name of an animation ends in .webp")
    with cli.refusing(run_folder.OutputError, prefix="--timelapse: "):
        run_folder.check_output(target, paths)
    if not values.timelapse:
        with cli.refusing(run_folder.OutputError, prefix="--output: "):
            run_folder.check_ours(target, run_folder.is_our_picture)
    long_side = min(max(sizes[-1]), values.long_side or LARGEST_SIDE)
    shape = size_for_long_side(*sizes[-1], long_side)
    durations = [values.frame_ms] * (len(paths) - 1) + [values.hold_ms]
    try:
        with cli.refusing(picture_io.PictureError), files.open_atomically(target) as file:
            write(file, paths, shape, durations, values.loop)
    except OSError as error:
        return cli.report_unwritten(target, error, "the snapshots are as they were")
    print(f"{len(paths)} pictures, {sum(durations) / 1000:g} s: {target}")
    return 0


def write(file, paths, shape, durations, loop):
    """Write an animation.

    Args:
      file: open for writing bytes.
      paths: of the pictures, two or more.
      shape: (height, width) of the animation.
      durations: milliseconds, one a picture.
      loop: whether it begins anew at the end.

    Raises:
      PictureError: a picture cannot be read.
      OSError: the disk is full, and so on.
    """
    with tqdm(total=len(paths), unit="picture", disable=None) as bar:
        settings = {"save_all": True, "duration": durations, "loop": 0 if loop else 1}
        Frames(paths, shape, bar).save(file, "WEBP", exif=picture_io.mark(), **settings, **ENCODING)


class Frames(Image.Image):
    """Picture files as the frames of one picture; Pillow asks for one after the other."""

    def __init__(self, paths, shape, bar):
        super().__init__()
        self.paths, self.shape, self.bar, self.n_frames = paths, shape, bar, len(paths)
        self.seek(0)

    def seek(self, frame):
        """Decode a frame, in place of the one before."""
        pixels = resize(picture_io.load_picture(self.paths[frame]), *self.shape)
        picture = Image.fromarray(np.rint(pixels).astype(np.uint8))
        self.im, self._mode, self._size = picture.im, picture.mode, picture.size
        self.frame = frame
        self.bar.update(max(0, frame + 1 - self.bar.n))  # it goes back at the end

    def tell(self):
        """Return the number of the frame."""
        return self.frame


if __name__ == "__main__":
    console.leave(cli.call(__doc__, timelapse, sys.argv, define_flags, flags.FlagValues()))
