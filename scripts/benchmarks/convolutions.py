"""Measure the ways to compute a convolution, from which the rule of the package is drawn.

    python scripts/benchmarks/convolutions.py --update

Writes results/convolutions.json (`--output`) and, next to it, the same as a table. It takes no
flags of a transfer; the kernels and maps are random numbers.
"""

import functools
import itertools
import sys
from statistics import median

import evaluations
import report as benchmark_report
from absl import flags

from gatys_norm import surroundings
from gatys_norm.cli import console, loading, program
from gatys_norm.cli import flags as cli_flags

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
SIZES = ("64", "128", "256", "512", "1024")
ROUNDS = 5
WAYS = ("direct", "mirrored", "transposed", "winograd")
# {the first layer of this shape: rows of the picture per row of its map, C, C'}
LAYERS = {
    "conv1_2": (1, 64, 64),
    "conv2_1": (2, 64, 128),
    "conv2_2": (2, 128, 128),
    "conv3_1": (4, 128, 256),
    "conv3_2": (4, 256, 256),
    "conv4_1": (8, 256, 512),
    "conv4_2": (8, 512, 512),
    "conv5_1": (16, 512, 512),
}


def define_flags(values):
    """Add the flags of this program."""
    flags.DEFINE_list("sizes", list(SIZES), "long sides of pictures of 4:3", values)
    explanation = "rounds of timings, of which medians are taken"
    flags.DEFINE_integer("rounds", ROUNDS, explanation, lower_bound=1, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    for names in (("size", "iterations"), ("content", "style")):
        cli_flags.refuse_flags(names, values, "the maps are random numbers")
    config = benchmark_report.config_from_flags(values, size=256, iterations=1)
    sizes = benchmark_report.sizes_from_flag("sizes", values.sizes, config)
    destination, machine = benchmark_report.prepare(values, "convolutions", [PAGE], config.weights)
    with surroundings.environment_variables(benchmark_report.ONE_THREAD):
        rows = benchmark_report.in_own_process(measure, sizes, values.rounds)
    settings = {"sizes": sizes, "rounds": values.rounds}
    report = {"machine": machine, "settings": settings, "rows": rows}
    benchmark_report.finish(destination, report, tables(report))


def measure(sizes, rounds):
    """Time every way of every layer in turn, alone and with its gradient, round after round.

    Returns:
      One row for each size and layer: {"size", "layer", "height", "width", "tiles", "chosen",
      "gigaflops": {way: (alone, with its gradient)}}, counted as direct convolutions.
    """
    loading.start_tensorflow()
    rows = []
    with benchmark_report.progress_bar("convolving", len(sizes) * len(LAYERS)) as bar:
        for size, layer in itertools.product(sizes, LAYERS):
            rows.append(measured_row(size, layer, rounds))
            bar.update()
    return rows


def measured_row(size, layer, rounds):
    """Return one row; see `measure`."""
    from gatys_norm.network import convolution, winograd

    stride, inputs, outputs = LAYERS[layer]
    height, width = size * 3 // 4 // stride, size // stride
    timers = {way: timers_of(way, (height, width), inputs, outputs) for way in WAYS}
    timings = {way: ([], []) for way in WAYS}
    for _ in range(rounds):
        for way, both in timers.items():
            for times, timer in zip(timings[way], both, strict=True):
                times.append(timer())
    gigaflop = 2 * 9 * height * width * inputs * outputs / 1e9
    return {
        "size": size,
        "layer": layer,
        "height": height,
        "width": width,
        "tiles": winograd.tile_count(height, width),
        "chosen": convolution.fastest_way(height, width, inputs, outputs),
        "gigaflops": {
            way: (gigaflop / median(alone), 2 * gigaflop / median(both))
            for way, (alone, both) in timings.items()
        },
    }


def timers_of(way, shape, inputs, outputs):
    """Return two functions that return CPU seconds: of one convolution, and of both directions."""
    import tensorflow as tf

    from gatys_norm.network.convolution import Convolution

    tf.random.set_seed(0)
    convolve = Convolution(tf.random.normal([3, 3, inputs, outputs]), lambda *_: way)
    value, upstream = tf.random.normal([1, *shape, inputs]), tf.random.normal([1, *shape, outputs])

    @tf.function(autograph=False)
    def alone():
        return convolve(value)

    @tf.function(autograph=False)
    def with_gradient():
        with tf.GradientTape() as tape:
            tape.watch(value)
            output = convolve(value)
        return output, tape.gradient(output, value, upstream)

    alone(), with_gradient()  # traces them
    cpu_seconds = functools.partial(evaluations.seconds_of, clock="process_time")
    return functools.partial(cpu_seconds, alone), functools.partial(cpu_seconds, with_gradient)


def tables(report):
    """Return the report as Markdown."""
    settings = report["settings"]
    titles = "long side | layer | map | tiles | " + " | ".join(
        f"{way} | with gradient" for way in WAYS
    )
    lines = [
        benchmark_report.machine_line(report["machine"]),
        "",
        f"GFLOP/s of one thread, counted as direct convolutions; medians of {settings['rounds']} "
        "rounds. **Bold** is what the rule takes.",
        "",
        benchmark_report.table(titles, map(line, report["rows"])),
    ]
    return "\n".join(lines)


def line(row):
    """Return a row of the table."""
    cells = [str(row["size"]), row["layer"], f"{row['height']}×{row['width']}", str(row["tiles"])]
    for way in WAYS:
        mark = "**" if way == row["chosen"] else ""
        cells += [f"{mark}{speed:.0f}{mark}" for speed in row["gigaflops"][way]]
    return " | ".join(cells)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
