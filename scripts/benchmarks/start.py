"""Measure what a transfer does before its second iteration, part by part.

    python scripts/benchmarks/start.py --update

Writes results/start.json (`--output`) and, next to it, the same as a table. Of the flags of a
transfer it has --content, --style and --weights. The weights must be on this machine.
"""

import contextlib
import dataclasses
import sys
import time
from statistics import median
from unittest import mock

import psutil
import report as benchmark_report
from absl import flags

from gatys_norm import surroundings
from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.network import weights

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
SIZES = ("128", "256", "512")
ROUNDS = 3
LOADED, TENSORFLOW, FOUND = "Python, flags, pictures", "TensorFlow, Keras", "weights found"
NETWORK, TARGETS, FIRST = "network built and loaded", "targets", "first evaluation, traced"
GRAPH, ITERATION, MEASURES = "L-BFGS traced", "first iteration", "measures of the result"
BEFORE_FIRST_ITERATION = (LOADED, TENSORFLOW, FOUND, NETWORK, TARGETS, FIRST, GRAPH)
PARTS = (*BEFORE_FIRST_ITERATION, ITERATION, MEASURES)


class Clock:
    """Says what each part took: `parts` is {part: {"seconds", "cpu_seconds"}}."""

    def __init__(self):
        self.parts = {}
        self._before = {"seconds": psutil.Process().create_time(), "cpu_seconds": 0.0}

    def mark(self, part):
        """End a part. The first one began with the process."""
        now = {"seconds": time.time(), "cpu_seconds": time.process_time()}
        self.parts[part] = {name: now[name] - self._before[name] for name in now}
        self._before = now

    def marking(self, owner, name, *parts):
        """Return a context in which each call of a function ends one of these parts."""
        function, waiting = getattr(owner, name), list(parts)

        def call(*arguments, **keywords):
            result = function(*arguments, **keywords)
            if waiting:
                self.mark(waiting.pop(0))
            return result

        return mock.patch.object(owner, name, call)


def define_flags(values):
    """Add the flags of this program."""
    flags.DEFINE_list("sizes", list(SIZES), "long sides to start a transfer at", values)
    explanation = "processes to measure for each size, of which medians are taken"
    flags.DEFINE_integer("rounds", ROUNDS, explanation, lower_bound=1, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("size", "iterations"), values, "see --sizes")
    config = benchmark_report.config_from_flags(values, size=256, iterations=1)
    sizes = benchmark_report.sizes_from_flag("sizes", values.sizes, config)
    destination, machine = benchmark_report.prepare(values, "start", [PAGE], config.weights)
    config = dataclasses.replace(config, weights=machine["weights"])
    report = {
        "machine": machine,
        "settings": config.as_dict() | {"sizes": sizes, "rounds": values.rounds},
        "sizes": measure_sizes(config, sizes, values.rounds),
    }
    benchmark_report.finish(destination, report, tables(report))


def measure_sizes(config, sizes, rounds):
    """Start a transfer of every size in turn, with one thread and with all, round after round.

    Returns:
      {size: {"evaluations": of the first iteration, "parts": {part: {"seconds", "cpu_seconds"}}}};
      seconds are those with all threads, CPU seconds those with one, both medians.
    """
    runs = {size: [] for size in sizes}
    with benchmark_report.progress_bar("starting", 2 * rounds * len(sizes)) as bar:
        for size in sizes * rounds:
            alone = dataclasses.replace(config, size=(size,))
            with surroundings.environment_variables(benchmark_report.ONE_THREAD):
                one_thread = benchmark_report.in_own_process(measure, alone)
            bar.update()
            runs[size].append((one_thread, benchmark_report.in_own_process(measure, alone)))
            bar.update()
    return {size: summary(pairs) for size, pairs in runs.items()}


def summary(pairs):
    """Return medians of runs with one thread and with all; see `measure_sizes`."""
    parts = {
        part: {
            "cpu_seconds": median(one["parts"][part]["cpu_seconds"] for one, _ in pairs),
            "seconds": median(all_threads["parts"][part]["seconds"] for _, all_threads in pairs),
        }
        for part in PARTS
    }
    return {"evaluations": pairs[0][0]["evaluations"], "parts": parts}


def measure(config):
    """Run a transfer of one iteration in this process, which has only begun.

    Returns:
      {"evaluations": of the first iteration, "parts": see `Clock`}.
    """
    clock = Clock()
    inputs = picture_inputs.load(config)
    clock.mark(LOADED)
    weights.hash_ahead(config.weights)  # as the command does
    library = loading.start_tensorflow()
    clock.mark(TENSORFLOW)
    with errors.refusing(*library.INPUT_ERRORS), contextlib.ExitStack() as stack:
        transfer = library.Transfer(config, inputs)
        clock.mark(FOUND)
        transfer.load_network()
        clock.mark(NETWORK)
        optimizer = type(library.base.load(config.resolved()))
        stack.enter_context(clock.marking(library, "open_stage", TARGETS))
        stack.enter_context(clock.marking(optimizer, "init", FIRST))
        stack.enter_context(clock.marking(optimizer, "advance", GRAPH, ITERATION))
        record = transfer.run().record
        clock.mark(MEASURES)
    return {"evaluations": record["evaluations"] - 1, "parts": clock.parts}


def tables(report):
    """Return the report as Markdown."""
    sizes = report["sizes"]
    titles = ["part", *(f"{size} px, s | CPU s" for size in sizes)]
    rows = [
        *((part, (part,)) for part in BEFORE_FIRST_ITERATION),
        ("**before the first iteration**", BEFORE_FIRST_ITERATION),
        (ITERATION, (ITERATION,)),
        (MEASURES, (MEASURES,)),
    ]
    counts = [f"{sizes[size]['evaluations']} at {size} px" for size in sizes]
    return "\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            "",
            f"Evaluations of the first iteration: {', '.join(counts)}. "
            f"Processes of each: {report['settings']['rounds']}.",
            "",
            benchmark_report.table(
                " | ".join(titles),
                (
                    " | ".join([title, *(cells(sizes[size], parts) for size in sizes)])
                    for title, parts in rows
                ),
            ),
        ]
    )


def cells(measured, parts):
    """Return the seconds and the CPU seconds of some parts together, as two cells."""
    totals = (
        sum(measured["parts"][part][name] for part in parts) for name in ("seconds", "cpu_seconds")
    )
    return " | ".join(f"{total:.2f}" for total in totals)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
