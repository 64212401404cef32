"""The tables of the speed benchmark."""

import report as benchmark_report
from evaluations import MATMUL_OPERATIONS, MATMUL_SIDE, STEEP
from speed_plan import PRECISIONS

from gatys_norm.text import NOTHING


def all_tables(report):
    """Return the whole report as Markdown."""
    rates = [
        f"{MATMUL_OPERATIONS / timed['seconds'] / 1e9:.0f} in {precision}"
        for precision, timed in report["matmul"].items()
    ]
    parts = [
        machine_line(report),
        "### One evaluation",
        f"Medians of {report['settings']['rounds']} rounds. The product of two square matrices of "
        f"{MATMUL_SIDE} rows, timed in every round, in GFLOP/s: {', '.join(rates)}.",
        size_table(report["sizes"]),
        *(growth_part(report) if report["growth"]["float32"] else []),
        *(peer_part(report) if report["peer"] else []),
        *line_search_part(report["line_searches"]),
        "### Transfers to a fixed loss",
        *fixed_loss_part(report),
    ]
    return "\n\n".join(parts)


def machine_line(report):
    """Return the machine, the versions and the date in one sentence."""
    peer = [f"torch {report['peer']['torch']}"] if report["peer"] else []
    return benchmark_report.machine_line(report["machine"], *peer)


def size_table(rows):
    """Return the table of single evaluations."""
    titles = "long side | picture | GFLOP"
    titles += "".join(f" | {name}, s | least–most | of matmul's rate" for name in PRECISIONS)
    lines = []
    for row in rows:
        strips = ", in strips" if row["in_strips"] else ""
        line = f"{row['size']} | {row['width']}×{row['height']}{strips} | "
        line += f"{row['operations'] / 1e9:.0f}"
        for timed in (row[precision] for precision in PRECISIONS):
            line += f" | {timed['seconds']:.3g} | {timed['least']:.3g}–{timed['most']:.3g}"
            line += f" | {timed['share']:.0%}"
        lines.append(line)
    return benchmark_report.table(titles, lines)


def growth_part(report):
    """Return the fitted exponents with their residuals."""
    titles = ["precision", "exponent", *(f"{row['size']} px" for row in report["sizes"])]
    lines, steep = [], []
    for precision, fit in report["growth"].items():
        residuals = [f"{residual:+.1%}" for residual in fit["residuals"]]
        lines.append(" | ".join([precision, f"{fit['exponent']:.3f}", *residuals]))
        if fit["explanation"]:
            steep.append(f"The exponent in {precision} is above {STEEP}: {fit['explanation']}.")
    text = "Seconds grow with pixels^exponent; how far each size lies off that fit:"
    return ["### Growth", text, benchmark_report.table(" | ".join(titles), lines), *steep]


def peer_part(report):
    """Return the table of PyTorch's evaluations."""
    peer, size = report["peer"], report["settings"]["size"][0]
    text = f"The same loss at {size} px in PyTorch {peer['torch']} on {peer['device']}:"
    lines = [
        f"{variant} | {timed['seconds']:.3g} | {timed['times_as_fast']:.2f}"
        for variant, timed in peer["variants"].items()
    ]
    titles = "variant | s | times as fast as ours"
    return ["### One evaluation in PyTorch", text, benchmark_report.table(titles, lines)]


def line_search_part(runs):
    """Return the table of the line searches."""
    titles = "line search | iterations | evaluations | per iteration | last loss | s"
    lines = [
        f"{name} | {run['iterations']} | {sum(run['evaluations'])} | "
        f"{run['evaluations_per_iteration']:.2f} | {run['loss']:.4g} | {run['seconds']:.1f}"
        for name, run in runs.items()
    ]
    text = f"At {runs['unit_step']['size']} px:"
    return ["### Line searches", text, benchmark_report.table(titles, lines)]


def fixed_loss_part(report):
    """Return the table of the transfers to the fixed loss."""
    settings, fixed = report["settings"], report["fixed_loss"]
    titles = (
        "contestant | loss | evaluations | optimizer, s | times as fast | all, s | times as fast"
    )
    lines = []
    for name, result in fixed["contestants"].items():
        line = f"{name} | {result['loss']:.4g}{'' if result['reached'] else ', not reached'} | "
        line += " + ".join(map(str, result["evaluations"]))
        for key in ("seconds", "wall"):
            ratio = result[f"{key}_ratio"]
            line += f" | {result[key]:.1f} | " + (f"{ratio:.2f}" if ratio else NOTHING)
        lines.append(line)
    ends = " and ".join(
        f"{fixed['runs'][name][0][-1]['loss']:.4g} (the {name}, after "
        f"{fixed['runs'][name][0][-1]['iterations']} iterations and "
        f"{fixed['runs'][name][0][-1]['seconds']:.0f} s)"
        for name in ("paper preset", "fast preset")
    )
    text = (
        f"Transfers at {settings['size'][0]} px end at a loss of {ends}; the times are those to "
        f"the higher one. Runs of each: {settings['repeats']}. The time of all includes the start "
        f"of the program, the tracing, and the loss every {settings['log_every']} iterations; the "
        "optimizer's does not."
    )
    return [text, benchmark_report.table(titles, lines)]
