"""The tables of the speed of one evaluation."""

import report as benchmark_report
from against_pytorch import CLOCKS
from evaluations import MATMUL_OPERATIONS, MATMUL_SIDE, STEEP


def all_tables(report):
    """Return the whole report as Markdown."""
    single, peer = report["single"], report["peer"]
    packages = [f"torch {peer['about']['torch']}"] if peer else []
    rates = [
        f"{MATMUL_OPERATIONS / timed['seconds'] / 1e9:.0f} in {precision}"
        for precision, timed in single["matmul"].items()
    ]
    parts = [
        benchmark_report.machine_line(report["machine"], *packages),
        "#### One evaluation",
        f"Medians of {report['settings']['rounds']} rounds. The product of two square matrices of "
        f"{MATMUL_SIDE} rows, timed in every round, in GFLOP/s: {', '.join(rates)}.",
        size_table(single["sizes"], list(single["matmul"])),
        *(growth_part(single) if single["growth"]["float32"] else []),
        *(peer_part(report) if peer else []),
    ]
    return "\n\n".join(parts)


def size_table(rows, precisions):
    """Return the table of single evaluations."""
    titles = "long side | picture | GFLOP"
    titles += "".join(f" | {name}, s | least–most | of matmul's rate" for name in precisions)
    lines = []
    for row in rows:
        strips = ", in strips" if row["strips"]["rows"] else ""
        line = f"{row['size']} | {row['width']}×{row['height']}{strips} | "
        line += f"{row['operations'] / 1e9:.0f}"
        for timed in (row[precision] for precision in precisions):
            line += f" | {timed['seconds']:.3g} | {timed['least']:.3g}–{timed['most']:.3g}"
            line += f" | {timed['share']:.0%}"
        lines.append(line)
    return benchmark_report.table(titles, lines)


def growth_part(single):
    """Return the fitted exponents with their residuals."""
    titles = ["precision", "exponent", *(f"{row['size']} px" for row in single["sizes"])]
    lines, steep = [], []
    for precision, fit in single["growth"].items():
        residuals = [f"{residual:+.1%}" for residual in fit["residuals"]]
        lines.append(" | ".join([precision, f"{fit['exponent']:.3f}", *residuals]))
        if fit["explanation"]:
            steep.append(f"The exponent in {precision} is above {STEEP}: {fit['explanation']}.")
    text = "Seconds grow with pixels^exponent; how far each size lies off that fit:"
    return ["#### Growth", text, benchmark_report.table(" | ".join(titles), lines), *steep]


def peer_part(report):
    """Return the table of evaluations of both sides."""
    peer = report["peer"]
    about = peer["about"]
    text = (
        f"The same loss in PyTorch {about['torch']} on {about['device']}, in the faster of its "
        f"memory layouts, in turn with ours; medians of {report['settings']['rounds']} rounds. "
        "With one thread each the times are CPU seconds, with all threads seconds; the ratio is "
        "ours / PyTorch's within a round."
    )
    titles = "long side | precision"
    titles += "".join(f" | ours, {name} | PyTorch | ratio" for name in CLOCKS)
    lines = []
    for row in peer["rows"]:
        line = f"{row['size']} | {row['precision']}"
        for compared in (row[name] for name in CLOCKS):
            line += f" | {compared['ours']:.3g} | {compared['peer']:.3g}, {compared['layout']}"
            line += f" | {compared['ratio']:.2f}"
        lines.append(line)
    return ["#### Against PyTorch", text, benchmark_report.table(titles, lines)]
