"""Run the original and the normalized loss on the same pictures and lay the results side by side.

    python scripts/compare.py --content=C.jpg --style=S.jpg --output=compare.png

All flags of the main command. Beside compare.png go compare-original.png and
compare-normalized.png, each with its own record. Ends with what both are measured by.
"""

import json
import sys
from pathlib import Path

from absl import flags

from gatys_norm import cli

LOSSES = ("original", "normalized")


def define_flags(values):
    """Add the two λ_os, because one number suits both losses only by chance."""
    for loss in LOSSES:
        flags.DEFINE_float(
            f"lambda_os_{loss}",
            None,
            f"λ_os of the {loss} loss; default --lambda_os",
            flag_values=values,
        )


def compare(values):
    """Run both losses and write the labelled picture."""
    from gatys_norm import runs

    sheet = Path(cli.required(values, "output"))
    configs = {loss: config_for(values, loss) for loss in LOSSES}
    outputs = {loss: sheet.with_name(f"{sheet.stem}-{loss}{sheet.suffix}") for loss in LOSSES}
    cli.check_outputs([sheet, *outputs.values()], configs["original"], values)
    for loss in LOSSES:
        if values.resume and runs.is_finished(outputs[loss], configs[loss]):
            continue
        print(f"{loss} loss, λ_os {configs[loss].resolved().lambda_os:g}")
        started = runs.checkpoint_path(outputs[loss]).exists()
        code = cli.run_transfer(configs[loss], outputs[loss], values, values.resume and started)
        if code:
            return code
    write_sheet(sheet, configs, outputs)
    print_measures(outputs)
    print(f"side by side: {sheet}")
    return 0


def config_for(values, loss):
    """Return the settings for one loss."""
    lambda_os = values[f"lambda_os_{loss}"].value
    own = {} if lambda_os is None else {"lambda_os": lambda_os}
    return cli.config_from_flags(values, loss=loss, **own)


def print_measures(outputs):
    """Print what the two results are measured by, side by side."""
    from gatys_norm import runs

    measured = {
        loss: json.loads(runs.record_path(output).read_text())["metrics"]
        for loss, output in outputs.items()
    }
    print(f"{'':28}" + "".join(f"{loss:>12}" for loss in LOSSES))
    for measure, layers in measured[LOSSES[0]].items():
        for layer in layers:
            values = [measured[loss][measure][layer] for loss in LOSSES]
            cells = ["undefined" if value is None else f"{value:.4f}" for value in values]
            print(f"{measure.replace('_', ' '):18}{layer:10}" + "".join(f"{c:>12}" for c in cells))


def write_sheet(sheet, configs, outputs):
    """Write content, style, original and normalized in one row."""
    from gatys_norm import images, plots

    config = configs["original"]
    results = [
        (f"{loss} loss\nλ_os = {configs[loss].resolved().lambda_os:g}", outputs[loss])
        for loss in LOSSES
    ]
    pictures = [("content", config.content), ("style", config.style), *results]
    loaded = [(caption, images.load_picture(path)) for caption, path in pictures]
    images.save_picture(sheet, plots.labelled_row(loaded, loaded[-1][1].shape[0]))


if __name__ == "__main__":
    sys.exit(cli.call(__doc__, compare, sys.argv, define_flags))
