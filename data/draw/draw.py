"""Draw the sample pictures in data/: two contents, masks of the first, six paintings (styles).

    python data/draw/draw.py

Everything is computed from numpy and Pillow with fixed seeds; no outside picture is read.
"""

import functools
import io
import sys
from pathlib import Path

import dots
import glass
import planes
import strokes
import table
import town
import washes
import woodcut
from absl import flags

from gatys_norm import files
from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.runs import folder as run_folder

DATA = Path(__file__).resolve().parents[1]
PICTURES = {
    "river_town": town.draw_river_town,
    "river_town_sky": town.draw_sky_mask,
    "river_town_land": functools.partial(town.draw_sky_mask, of_land=True),
    "flowing_strokes": strokes.draw_flowing_strokes,
    "angular_planes": planes.draw_angular_planes,
    "soft_washes": washes.draw_soft_washes,
    "kitchen_table": table.draw_kitchen_table,
    "bright_dots": dots.draw_bright_dots,
    "carved_lines": woodcut.draw_carved_lines,
    "leaded_glass": glass.draw_leaded_glass,
}


def define_flags(values):
    """Flags of this program, which takes none of the main command's."""
    explanation = "folder that receives the pictures; made if missing"
    cli_flags.define_path("output_dir", str(DATA), explanation, values)


def draw(values):
    """Draw every picture and save it as a JPEG."""
    folder = Path(cli_flags.required(values, "output_dir"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"is no folder and cannot be made one ({error.strerror}); name another"
        raise errors.InputError(f"--output_dir: {folder}: {reason}") from error
    with errors.refusing(run_folder.OutputError, prefix="--output_dir: "):
        for name in PICTURES:
            run_folder.check_output(folder / f"{name}.jpg", ())
    for name, draw_picture in PICTURES.items():
        encoded, path = io.BytesIO(), folder / f"{name}.jpg"
        draw_picture().save(encoded, "JPEG", quality=90, optimize=True)
        try:
            files.write_atomically(path, encoded.getvalue())
        except OSError as error:
            return errors.report_unwritten(path, error, "what was drawn before it is kept")
    return 0


if __name__ == "__main__":
    console.leave(program.call(__doc__, draw, sys.argv, define_flags, flags.FlagValues()))
