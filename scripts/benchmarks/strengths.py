"""Measure how near transfers come to the strength that is asked for, and what the search costs.

    python scripts/benchmarks/strengths.py --in_turn --update
    python scripts/benchmarks/strengths.py --preset=fast --size=256 \
        --strengths=0.1,0.3,0.5,0.7,0.9 --update --update_strips

Every content is transferred with every style, by each of --losses, at every strength, and once
without any content loss, which strength 1 stands for. With --in_turn, each pair of content and
style is given one of the strengths, the next one than its neighbors, and many pairs are measured in
the time of few. Writes results/strengths_paper.json, named after the preset (`--output`), the same
as a table, a sheet of the first content's pictures (not with --in_turn), and the pictures into a
folder next to them; those that are finished there are not computed again. With --update the tables
go into docs/, where each preset has a place. With --update_strips the sheet does; the tables then
have a place of their own there, and all is written to results/strips.json. Of the flags of a
transfer it has --weights, --size, --iterations and --preset.
"""

import dataclasses
import itertools
import math
import sys
from pathlib import Path

import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import LOSSES, PRESETS, ConfigError
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io

PAGE = benchmark_report.ROOT / "docs" / "losses.md"
STRIPS = benchmark_report.ROOT / "docs" / "strengths.jpg"
CELL_WIDTH = 144  # pixels of a picture in the sheet
CONTENTS = ("river_town",)
STRENGTHS = ("0.3", "0.5", "0.7")
NEAR = 0.05
INSTEAD = {
    "content": "contents",
    "style": "styles",
    "strength": "strengths",
    "lambda_os": "strengths",
    "loss": "losses",
}
TITLES = (
    "content | style | loss | strength | reached | λ_os | probes | search, s | transfer, s | share"
)


def define_flags(values):
    """Add the flags of this program."""
    contents = [str(benchmark_report.ROOT / "data" / f"{name}.jpg") for name in CONTENTS]
    explanation = "pictures, one after another"
    flags.DEFINE_list("contents", contents, explanation, flag_values=values)
    benchmark_report.define_styles(values, explanation)
    flags.DEFINE_list("strengths", list(STRENGTHS), "strengths, from weak", flag_values=values)
    flags.DEFINE_list("losses", ["normalized"], f"some of {', '.join(LOSSES)}", flag_values=values)
    explanation = "give each pair of content and style one of the strengths, in turn"
    flags.DEFINE_bool("in_turn", False, explanation, flag_values=values)
    explanation = "write the sheet of pictures into docs/"
    flags.DEFINE_bool("update_strips", False, explanation, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    for name, plural in INSTEAD.items():
        cli_flags.refuse_flags((name,), values, f"see --{plural}")
    if values.in_turn and values.update_strips:
        raise errors.InputError("--update_strips: has no sheet with --in_turn")
    (iterations,) = PRESETS[values.preset]["iterations"]
    config = benchmark_report.config_from_flags(
        values, size=512, iterations=iterations, extra_flags=("preset",)
    )
    strengths = sorted(set(cli_flags.numbers("strengths", values.strengths, float)))
    pairs = itertools.product(
        enumerate(cli_flags.expanded(cli_flags.required(values, "contents"))),
        enumerate(cli_flags.expanded(cli_flags.required(values, "styles"))),
        cli_flags.required(values, "losses"),
    )
    with errors.refusing(ConfigError, prefix="--contents, --styles, --strengths, --losses: "):
        configs = [
            dataclasses.replace(config, content=content, style=(style,), loss=loss, **weight)
            for (row, content), (column, style), loss in pairs
            for weight in weights_of(strengths, row + column if values.in_turn else None)
        ]
    name = "strips" if values.update_strips else f"strengths_{values.preset}"
    destination, machine = benchmark_report.prepare(values, name, [PAGE], config.weights)
    configs = benchmark_report.with_weights(configs, machine)
    folder = destination.output.with_suffix("")
    measured = benchmark_report.in_own_process(measure, configs, folder)
    report = {"machine": machine, "settings": config.as_dict(), "transfers": measured}
    if not values.in_turn:
        picture = sheet(measured)
        picture_io.save_picture(destination.output.with_suffix(".jpg"), picture)
        if values.update_strips:
            picture_io.save_picture(STRIPS, picture)
    benchmark_report.finish(destination, report, tables(report))


def weights_of(strengths, turn=None):
    """Return what is set for the transfers of a pair.

    Args:
      strengths: from weak.
      turn: which of them a pair is given; None for all, and no content loss.
    """
    if turn is not None:
        return [{"strength": strengths[turn % len(strengths)]}]
    return [*({"strength": strength} for strength in strengths), {"lambda_os": 0.0}]


def measure(configs, folder):
    """Run the transfers that are not finished in a folder, and return the facts of each."""
    results = benchmark_report.finished_transfers(configs, folder)
    return [facts(results[config]) for config in configs]


def facts(result):
    """Return the facts of a finished transfer."""
    config, record = result.config, result.record
    return {
        "content": Path(config.content).stem,
        "style": Path(config.style[0]).stem,
        "loss": config.loss,
        "strength": config.strength,
        "reached": record["metrics"]["strength"],
        "seconds": record["timing"]["seconds"],
        "search": record["strength_search"],
        "picture": str(result.output),
    }


def tables(report):
    """Return the report as Markdown."""
    rows = [row(facts) for facts in report["transfers"]]
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            benchmark_report.settings_line(report["settings"], report["transfers"]),
            benchmark_report.table(TITLES, rows),
            *(conclusion(report["transfers"], loss) for loss in losses_of(report["transfers"])),
        ]
    )


def row(facts):
    """Return a row of the table."""
    cells = [facts["content"], facts["style"], facts["loss"]]
    search = facts["search"]
    if search is None:
        return " | ".join([*cells, "no content loss", f"{facts['reached']:.3f}", "0", *"––––"])
    cells += [f"{facts['strength']:g}", f"{facts['reached']:.3f}", f"{search['lambda_os']:.3g}"]
    cells += [str(len(search["probes"])), f"{search['seconds']:.1f}", f"{facts['seconds']:.1f}"]
    return " | ".join([*cells, f"{share(facts):.0%}"])


def share(facts):
    """Return the time of the search over that of the iterations."""
    return facts["search"]["seconds"] / facts["seconds"]


def losses_of(transfers):
    """Return the losses, in their order."""
    return list(dict.fromkeys(facts["loss"] for facts in transfers))


def conclusion(transfers, loss):
    """Return the sentences that say how near one loss comes, and how far its λ_os are apart."""
    of_loss = [facts for facts in transfers if facts["loss"] == loss]
    asked = [facts for facts in of_loss if facts["search"] is not None]
    misses = [abs(facts["reached"] - facts["strength"]) for facts in asked]
    near = sum(miss <= NEAR for miss in misses)
    alone = [facts["reached"] for facts in of_loss if facts["search"] is None]
    root = math.sqrt(math.fsum(miss**2 for miss in misses) / len(misses))
    sentences = (
        f"With the {loss} loss {near} of {len(misses)} transfers come within {NEAR:g} of their "
        f"strength; the largest miss is {max(misses):.3f}, the root of the mean square "
        f"{root:.3f}. The search takes {max(map(share, asked)):.0%} of the iterations' time at "
        f"most. Between the pairs λ_os differs by factors of up to {factors(asked)}."
    )
    if not alone:
        return sentences
    return (
        f"{sentences} Without any content loss the strength is "
        f"{min(alone):.2f} to {max(alone):.2f}."
    )


def factors(transfers):
    """Return the largest λ_os over the least of each strength, as words."""
    of_strength = {}
    for facts in sorted(transfers, key=lambda facts: facts["strength"]):
        of_strength.setdefault(facts["strength"], []).append(facts["search"]["lambda_os"])
    words = [
        f"{max(values) / min(values):.3g} at strength {strength:g}"
        for strength, values in of_strength.items()
    ]
    return ", ".join(words)


def sheet(transfers):
    """Return the first content's pictures by the first loss, a row per style."""
    first = transfers[0]
    shown = [
        facts
        for facts in transfers
        if (facts["content"], facts["loss"]) == (first["content"], first["loss"])
    ]
    rows = [list(group) for _, group in itertools.groupby(shown, key=lambda facts: facts["style"])]
    columns = [
        "no content loss" if facts["strength"] is None else f"strength {facts['strength']:g}"
        for facts in rows[0]
    ]
    pictures = [[picture_io.load_picture(facts["picture"]) for facts in row] for row in rows]
    styles = [row[0]["style"] for row in rows]
    return contact_sheet.labeled_grid(styles, columns, pictures, CELL_WIDTH)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
