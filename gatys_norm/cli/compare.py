"""The command `gatys-norm compare`: both losses on the same pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from gatys_norm.cli import errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.config import PAPER_LOSSES
from gatys_norm.record import Record, lambda_os_of
from gatys_norm.text import duration

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.images.inputs import LoadedInputs

USAGE = """Run both losses on the same pictures and lay the results side by side.

    gatys-norm compare --content=C.jpg --style=S.jpg --output=compare.png

All flags of a transfer. Next to compare.png go compare-original.png and compare-normalized.png,
each with its own record. Ends with what both are measured by. With `--report` the same goes into
compare.html, a page that shows both results under a slider; its other pictures are
compare-content.png, compare-style.png and compare-curves.png.
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name. Returns the exit code."""
    return program.call(USAGE, compare, argv, define_flags)


def define_flags(values: flags.FlagValues) -> None:
    """Add --report and one λ_os per loss, because the same number rarely fits both losses."""
    flags.DEFINE_bool("report", False, "write an HTML page of both results", flag_values=values)
    for loss in PAPER_LOSSES:
        flags.DEFINE_float(
            f"lambda_os_{loss}",
            None,
            f"λ_os of the {loss} loss; default --lambda_os",
            flag_values=values,
        )


def compare(values: flags.FlagValues) -> int:
    """Run both losses and write the labeled picture."""
    from gatys_norm.images import io as picture_io
    from gatys_norm.runs import folder as run_folder

    sheet = Path(cli_flags.required(values, "output"))
    if values.loss not in PAPER_LOSSES:
        raise InputError(f"--loss: this command runs {' and '.join(PAPER_LOSSES)}; leave it out")
    configs = {loss: config_for(values, loss) for loss in PAPER_LOSSES}
    outputs = {loss: with_part(sheet, loss) for loss in PAPER_LOSSES}
    parts = (*inputs_of(configs["original"]), "curves") if values.report else ()
    page_pictures = {part: with_part(sheet, part.replace(" ", "-")) for part in parts}
    page = run_folder.derived_path(sheet, ".html")
    pictures = [*outputs.values()], [*page_pictures.values()]
    inputs = check_and_load(sheet, *pictures, page, configs["original"], values)
    if code := run_both(configs, inputs, outputs, values):
        return code
    records = {
        loss: json.loads(run_folder.record_path(output).read_text())
        for loss, output in outputs.items()
    }
    print_measures(records)
    began = time.monotonic()
    try:
        write_sheet(sheet, configs["original"], inputs, outputs, records)
        print(f"side by side in {duration(time.monotonic() - began)}: {sheet}")
        if values.report:
            write_report(page, configs["original"], inputs, outputs, records, page_pictures)
            print(f"with a slider: {page}")
    except (OSError, picture_io.PictureError) as error:  # a sheet may be too wide for its format
        note = "both results are kept, the same command with --resume continues"
        return errors.report_unwritten(f"{sheet} or a file next to it", error, note)
    return 0


def check_and_load(
    sheet: Path,
    outputs: Sequence[Path],
    page_pictures: Sequence[Path],
    page: Path,
    config: TransferConfig,
    values: flags.FlagValues,
) -> LoadedInputs:
    """Refuse paths that cannot be written, or that would replace files of other programs.

    Args:
      sheet: the labeled picture.
      outputs: the pictures of both transfers.
      page_pictures: the other pictures of the page.
      page: the page, which is written if --report is given.
      config: settings of one of the transfers.
      values: parsed flags.

    Returns:
      The pictures of both transfers.
    """
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.runs import folder as run_folder

    paths = picture_inputs.paths(config).all()
    if values.report and sheet.suffix.lower() in (".tif", ".tiff"):
        raise InputError(
            f"--report: no browser shows {sheet.suffix}; choose .png, .jpg or .webp for --output"
        )
    with refusing(run_folder.OutputError, prefix="--output: "):
        for picture in [sheet, *page_pictures]:
            run_folder.check_output(picture, paths)
        for picture in [*outputs, *page_pictures]:
            run_folder.check_ours(picture, run_folder.is_our_picture)
        if values.report:
            from gatys_norm.report import page as report_page

            if page.is_dir():
                raise run_folder.OutputError(f"{page}: is a folder; a file will be written there")
            run_folder.check_ours(page, report_page.is_page)
    return transfer_command.check_and_load(outputs, config, values)


def with_part(sheet: Path, part: str) -> Path:
    """Return `compare-part.png` for `compare.png`."""
    return sheet.with_name(f"{sheet.stem}-{part}{sheet.suffix}")


def inputs_of(config: TransferConfig) -> dict[str, str]:
    """Return {role: path} of the content and every style."""
    styles = zip(config.style_names, config.style, strict=True)
    return {"content": config.content} | {f"style {name}".strip(): path for name, path in styles}


def config_for(values: flags.FlagValues, loss: str) -> TransferConfig:
    """Return the settings for one loss."""
    lambda_os = values[f"lambda_os_{loss}"].value
    changes = {} if lambda_os is None else {"lambda_os": lambda_os}
    return cli_flags.config_from_flags(values, loss=loss, **changes)


def run_both(
    configs: Mapping[str, TransferConfig],
    inputs: LoadedInputs,
    outputs: Mapping[str, Path],
    values: flags.FlagValues,
) -> int:
    """Run the transfers that are not finished; return the first exit code that is not 0."""
    from gatys_norm.runs import folder as run_folder

    losses = [
        loss
        for loss, config in configs.items()
        if not (values.resume and is_finished(outputs[loss], config, int(values.bit_depth)))
    ]
    with transfer_command.previewing(values) as preview:
        while losses:
            loss = losses.pop(0)
            config, output = configs[loss], outputs[loss]
            print(f"{loss} loss, {weight_of(config)}")
            resume = values.resume and run_folder.checkpoint_path(output).exists()
            code = transfer_command.run_transfer(
                config, inputs, output, values, resume, preview, later_transfers=len(losses)
            )
            if code:
                return code
    return 0


def weight_of(config: TransferConfig) -> str:
    """Return the weight of the content loss in words."""
    if config.strength is not None:
        return f"strength {config.strength:g}"
    return f"λ_os {config.resolved().lambda_os:g}"


def found_weight(record: Record) -> str:
    """Return the weight of the content loss in words, and what it was found for."""
    search = record.get("strength_search")
    purpose = f" for strength {search['target']:g}" if search else ""
    return f"λ_os = {lambda_os_of(record):.4g}{purpose}"


def is_finished(output: Path, config: TransferConfig, bit_depth: int) -> bool:
    """Tell whether a transfer has been run already, and its picture has `bit_depth` or more."""
    from gatys_norm.images import io as picture_io
    from gatys_norm.runs import folder as run_folder

    if not run_folder.is_finished(output, config):
        return False
    try:
        return bit_depth == 8 or picture_io.read_bit_depth(output) == bit_depth
    except picture_io.PictureError:
        return False


def print_measures(records: Mapping[str, Record]) -> None:
    """Print the measures of both results, side by side."""
    measured: dict[str, Any] = {loss: record["metrics"] for loss, record in records.items()}
    rows = {
        loss: {
            (measure, layer): value
            for measure, values in metrics.items()
            for layer, value in (values if measure != "strength" else {"": values}).items()
        }
        for loss, metrics in measured.items()
    }
    longest = max(len(layer) for _, layer in rows[PAPER_LOSSES[0]])
    print(" " * (20 + longest) + "".join(f"{loss:>12}" for loss in PAPER_LOSSES))
    for measure, layer in rows[PAPER_LOSSES[0]]:
        values = [rows[loss][measure, layer] for loss in PAPER_LOSSES]
        cells = ["undefined" if value is None else f"{value:.4f}" for value in values]
        print(
            f"{measure.replace('_', ' '):18}{layer:{longest + 2}}"
            + "".join(f"{cell:>12}" for cell in cells)
        )


def write_sheet(
    sheet: Path,
    config: TransferConfig,
    inputs: LoadedInputs,
    outputs: Mapping[str, Path],
    records: Mapping[str, Record],
) -> None:
    """Write content, style, original and normalized in one row; arguments as for `write_report`."""
    from gatys_norm.images import contact_sheet
    from gatys_norm.images import io as picture_io

    originals = (inputs.pictures.content, *inputs.pictures.styles)
    pictures = [
        *zip(inputs_of(config), originals, strict=True),
        *(
            (
                f"{loss} loss\n{found_weight(records[loss])}",
                picture_io.load_picture(outputs[loss]),
            )
            for loss in PAPER_LOSSES
        ),
    ]
    picture_io.save_picture(sheet, contact_sheet.labeled_row(pictures, pictures[-1][1].shape[0]))


def write_report(
    page: Path,
    config: TransferConfig,
    inputs: LoadedInputs,
    outputs: Mapping[str, Path],
    records: Mapping[str, Record],
    page_pictures: Mapping[str, Path],
) -> None:
    """Write the page, and next to it the loss curves and copies of the inputs that it shows.

    Args:
      page: path of the page.
      config, inputs: settings of one of the transfers, and its pictures.
      outputs: {loss: picture of the transfer}.
      records: {loss: record of the transfer}.
      page_pictures: {role of an input, or "curves": picture to write}.
    """
    from gatys_norm.images import io as picture_io
    from gatys_norm.images.sizes import resize
    from gatys_norm.report import page as report_page
    from gatys_norm.report import plots

    stage = records["original"]["stages"][-1]
    names = {role: Path(path).name for role, path in inputs_of(config).items()}
    shapes = [(stage["height"], stage["width"]), *stage["style_shapes"]]
    originals = (inputs.pictures.content, *inputs.pictures.styles)
    for role, picture, (height, width) in zip(names, originals, shapes, strict=True):
        picture_io.save_picture(page_pictures[role], resize(picture, height, width))
    picture_io.save_picture(page_pictures["curves"], plots.loss_curves(records))
    styles = ", ".join(name for role, name in names.items() if role != "content")
    grids = [
        report_page.Grid(
            f"{loss} loss",
            rows=(styles,),
            columns=(found_weight(records[loss]),),
            cells=((report_page.Cell(output.name, output, records[loss]),),),
        )
        for loss, output in outputs.items()
    ]
    section = report_page.Section(
        "The results",
        f"{names['content']} in the manner of {styles}.",
        tuple(grids),
        (
            *((f"{role}: {name}", page_pictures[role]) for role, name in names.items()),
            (
                "every term of both losses, coefficient times squared distance",
                page_pictures["curves"],
            ),
        ),
    )
    title = "Original and normalized loss, side by side"
    report_page.write(page, title, [section], settings=settings_of_page(records))


def settings_of_page(records: Mapping[str, Record]) -> dict[str, dict[str, Any]]:
    """Return the settings that both transfers share, and the versions they ran with, in groups."""
    record = records["original"]
    normalized_items = records["normalized"]["config"].items()
    settings = dict(item for item in record["config"].items() if item in normalized_items)
    versions = {**record["environment"], "weights": record["weights"]}
    return {"settings of both": settings, "versions": versions}
