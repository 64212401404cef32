"""The flag --viewer: a page to look around in the result, next to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gatys_norm.cli import errors
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.config import EQUIRECTANGULAR, FLAT

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

SUFFIX = ".html"


def define_flag(values: flags.FlagValues) -> None:
    """Add --viewer."""
    explanation = f"write a page to look around in a panorama, {SUFFIX} next to --output"
    flags.DEFINE_bool("viewer", False, explanation, flag_values=values)


def checked_page(output: str, config: TransferConfig, values: flags.FlagValues) -> Path | None:
    """Return the path of the page, before the work starts; None if there shall be none.

    Raises:
      InputError: the result is no panorama, or the page cannot be written, or would replace
        another file.
    """
    if not values.viewer:
        return None
    if config.projection == FLAT:
        raise InputError(f"--viewer: shows panoramas; set --projection={EQUIRECTANGULAR} too")
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.runs import folder as run_folder
    from gatys_norm.web import viewer

    page = run_folder.derived_path(output, SUFFIX)
    with refusing(run_folder.OutputError, prefix="--viewer: "):
        run_folder.check_targets(Path(output), [page], picture_inputs.paths(config).all())
        run_folder.check_ours(page, viewer.is_page)
    return page


def write(page: Path, output: str) -> int:
    """Write the page of a finished picture; return an exit code."""
    from gatys_norm import files
    from gatys_norm.images import io as picture_io
    from gatys_norm.web import viewer

    try:
        panorama = picture_io.load_picture(output)
        files.write_atomically(page, viewer.page(panorama, Path(output).name))
    except (OSError, picture_io.PictureError) as error:
        return errors.report_unwritten(page, error, f"{output} is written")
    print(f"page: {page}")
    return 0
