"""The tables of whole transfers."""

import report as benchmark_report

from gatys_norm.text import NOTHING


def all_tables(report):
    """Return the whole report as Markdown."""
    packages = [f"torch {report['torch']}"] if report["torch"] else []
    parts = [
        benchmark_report.machine_line(report["machine"], *packages),
        *(line_search_part(report["line_searches"]) if report["line_searches"] else []),
        "#### Transfers to a fixed loss",
        *fixed_loss_part(report),
    ]
    return "\n\n".join(parts)


def line_search_part(runs):
    """Return the table of the line searches."""
    titles = "line search | iterations | evaluations | per iteration | last loss | s"
    lines = [
        f"{name} | {run['iterations']} | {sum(run['evaluations'])} | "
        f"{run['evaluations_per_iteration']:.2f} | {run['loss']:.4g} | {run['seconds']:.1f}"
        for name, run in runs.items()
    ]
    text = f"At {runs['unit_step']['size']} px:"
    return ["#### Line searches", text, benchmark_report.table(titles, lines)]


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
