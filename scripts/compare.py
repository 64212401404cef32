"""Run the original and the normalized loss on the same pictures and lay the results side by side.

    python scripts/compare.py --content=C.jpg --style=S.jpg --output=compare.png

All flags of the main command. Beside compare.png go compare-original.png and
compare-normalized.png, each with its own record. Ends with what both are measured by. With
`--report` the same goes into compare.html, a page that shows both results under a slider; its other
pictures are compare-content.png, compare-style.png and compare-curves.png.
"""

import json
import sys
from pathlib import Path

from absl import flags

from gatys_norm.cli import console
from gatys_norm.cli import main as cli
from gatys_norm.config import LOSSES


def define_flags(values):
    """Add --report and the two λ_os, because one number suits both losses only by chance."""
    flags.DEFINE_bool("report", False, "write an HTML page of both results", flag_values=values)
    for loss in LOSSES:
        flags.DEFINE_float(
            f"lambda_os_{loss}",
            None,
            f"λ_os of the {loss} loss; default --lambda_os",
            flag_values=values,
        )


def compare(values):
    """Run both losses and write the labelled picture."""
    from gatys_norm.images import io as picture_io
    from gatys_norm.runs import folder as run_folder

    sheet = Path(cli.required(values, "output"))
    configs = {loss: config_for(values, loss) for loss in LOSSES}
    outputs = {loss: beside(sheet, loss) for loss in LOSSES}
    parts = (*inputs_of(configs["original"]), "curves") if values.report else ()
    shown = {part: beside(sheet, part.replace(" ", "-")) for part in parts}
    page = run_folder.beside(sheet, ".html")
    check_outputs(sheet, [*outputs.values()], [*shown.values()], page, configs["original"], values)
    with cli.previewing(values) as preview:
        for loss in LOSSES:
            if values.resume and run_folder.is_finished(outputs[loss], configs[loss]):
                continue
            print(f"{loss} loss, λ_os {configs[loss].resolved().lambda_os:g}")
            resume = values.resume and run_folder.checkpoint_path(outputs[loss]).exists()
            code = cli.run_transfer(configs[loss], outputs[loss], values, resume, preview=preview)
            if code:
                return code
    records = {
        loss: json.loads(run_folder.record_path(output).read_text())
        for loss, output in outputs.items()
    }
    print_measures(records)
    try:
        write_sheet(sheet, configs, outputs)
        print(f"side by side: {sheet}")
        if values.report:
            write_report(page, configs["original"], outputs, records, shown)
            print(f"with a slider: {page}")
    except (OSError, picture_io.PictureError) as error:  # a sheet may be too wide for a format
        kept = "both results are kept, the same command with --resume goes on"
        return cli.report_unwritten(f"{sheet} or a file beside it", error, kept)
    return 0


def check_outputs(sheet, outputs, shown, page, config, values):
    """Refuse what cannot be written, and what would replace files that are not of this program."""
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.runs import folder as run_folder

    inputs = []
    picture_inputs.paths(config).map(inputs.append)
    with cli.refusing(run_folder.OutputError, prefix="--output: "):
        for picture in [sheet, *shown]:
            run_folder.check_output(picture, inputs)
        for picture in [*outputs, *shown]:
            run_folder.check_ours(picture, run_folder.is_our_picture)
        if values.report:
            from gatys_norm.report import page as report_page

            if page.is_dir():
                raise run_folder.OutputError(f"{page}: is a folder; a file will be written there")
            run_folder.check_ours(page, report_page.is_page)
    cli.check_outputs(outputs, config, values)


def beside(sheet, part):
    """Return `compare-part.png` for `compare.png`."""
    return sheet.with_name(f"{sheet.stem}-{part}{sheet.suffix}")


def inputs_of(config):
    """Return {role: path} of the content and every style."""
    named = zip(config.style_names, config.styles, strict=True)
    return {"content": config.content} | {f"style {name}".strip(): path for name, path in named}


def config_for(values, loss):
    """Return the settings for one loss."""
    lambda_os = values[f"lambda_os_{loss}"].value
    own = {} if lambda_os is None else {"lambda_os": lambda_os}
    return cli.config_from_flags(values, loss=loss, **own)


def print_measures(records):
    """Print what the two results are measured by, side by side."""
    measured = {loss: record["metrics"] for loss, record in records.items()}
    longest = max(len(layer) for layers in measured[LOSSES[0]].values() for layer in layers)
    print(" " * (20 + longest) + "".join(f"{loss:>12}" for loss in LOSSES))
    for measure, layers in measured[LOSSES[0]].items():
        for layer in layers:
            values = [measured[loss][measure][layer] for loss in LOSSES]
            cells = ["undefined" if value is None else f"{value:.4f}" for value in values]
            print(
                f"{measure.replace('_', ' '):18}{layer:{longest + 2}}"
                + "".join(f"{c:>12}" for c in cells)
            )


def write_sheet(sheet, configs, outputs):
    """Write content, style, original and normalized in one row."""
    from gatys_norm.images import contact_sheet
    from gatys_norm.images import io as picture_io

    config = configs["original"]
    results = [
        (f"{loss} loss\nλ_os = {configs[loss].resolved().lambda_os:g}", outputs[loss])
        for loss in LOSSES
    ]
    pictures = [*inputs_of(config).items(), *results]
    loaded = [(caption, picture_io.load_picture(path)) for caption, path in pictures]
    picture_io.save_picture(sheet, contact_sheet.labelled_row(loaded, loaded[-1][1].shape[0]))


def write_report(page, config, outputs, records, shown):
    """Write the page, and beside it the loss curves and copies of the inputs to go with it."""
    from gatys_norm.images import io as picture_io
    from gatys_norm.images.sizes import resize
    from gatys_norm.report import page as report_page
    from gatys_norm.report import plots

    record = records["original"]
    stage = record["stages"][-1]
    inputs = inputs_of(config)
    names = {role: Path(path).name for role, path in inputs.items()}
    shapes = [(stage["height"], stage["width"]), *stage["style_shapes"]]
    for (role, path), shape in zip(inputs.items(), shapes, strict=True):
        picture_io.save_picture(shown[role], resize(picture_io.load_picture(path), *shape))
    styles = ", ".join(name for role, name in names.items() if role != "content")
    picture_io.save_picture(shown["curves"], plots.loss_curves(records))
    grids = [
        report_page.Grid(
            f"{loss} loss",
            rows=(styles,),
            columns=(f"λ_os = {records[loss]['config']['lambda_os']:g}",),
            cells=((report_page.Cell(output.name, output, records[loss]),),),
        )
        for loss, output in outputs.items()
    ]
    section = report_page.Section(
        "The results",
        f"{names['content']} in the manner of {styles}.",
        tuple(grids),
        (
            *((f"{role}: {name}", shown[role]) for role, name in names.items()),
            ("every term of both losses, coefficient times squared distance", shown["curves"]),
        ),
    )
    other = records["normalized"]["config"].items()
    settings = dict(item for item in record["config"].items() if item in other)
    versions = record["environment"] | {"weights": record["weights"]}
    groups = {"settings of both": settings, "versions": versions}
    report_page.write(
        page, "Original and normalized loss, side by side", [section], settings=groups
    )


if __name__ == "__main__":
    console.leave(cli.call(__doc__, compare, sys.argv, define_flags))
