"""Timing of single evaluations of the loss, and of matrix products in the same round."""

import dataclasses
import math
import time
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import report as benchmark_report

from gatys_norm.cli import errors, loading
from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.network import weights

MATMUL_SIDE = 4096
MATMUL_OPERATIONS = 2 * MATMUL_SIDE**3
LEAST_SECONDS = 0.2  # least time of a measurement; quicker calls are repeated
STEEP = 1.05  # above this power of the number of pixels, the report explains the growth


class Plan(NamedTuple):
    """What is timed: one evaluation with the settings of `config`, at each of `sizes`."""

    config: TransferConfig
    sizes: tuple[int, ...]
    rounds: int
    precisions: tuple[str, ...]


class Subject(NamedTuple):
    """The loss at one size, as a transfer makes it.

    Attributes:
      start: the position to evaluate at.
      inputs: the pictures, `ResizedInputs`.
      objectives: {precision: `Objective`}.
    """

    start: Any
    inputs: Any
    objectives: dict[str, Any]


def measure(plan):
    """Time matrix products and evaluations in turn, round after round.

    Args:
      plan: `Plan`.

    Returns:
      {"rounds": [{name: seconds}], "sizes": [facts of a size]}.
    """
    subjects = open_subjects(plan)
    chain = chain_of(plan.config)
    timers = {f"matmul {precision}": matmul_timer(precision) for precision in plan.precisions}
    sizes = []
    for size, subject in subjects.items():
        height, width, _ = subject.objectives["float32"].shape
        facts = {"size": size, "height": height, "width": width}
        facts["operations"] = operations(chain, height, width)
        sizes.append(facts | {"strips": subject.objectives["float32"].strips._asdict()})
        for precision, objective in subject.objectives.items():
            timers[f"{size} {precision}"] = evaluation_timer(objective, subject.start)
    from gatys_norm.network import device

    with device.graphs_in_full_precision():  # as in a transfer
        return {"rounds": time_rounds(timers, plan.rounds), "sizes": sizes}


def time_rounds(timers, count):
    """Call all timers in turn, round after round; return [{name: seconds}].

    A first round, in which functions are traced, is not counted.
    """
    for timer in timers.values():
        timer()
    rounds = []
    with benchmark_report.progress_bar("timing", count * len(timers)) as bar:
        for _ in range(count):
            rounds.append({})
            for name, timer in timers.items():
                rounds[-1][name] = timer()
                bar.update()
    return rounds


def open_subjects(plan):
    """Start TensorFlow; return {size: `Subject`} for the sizes of a plan."""
    transfer = loading.start_tensorflow()
    with errors.refusing(*transfer.INPUT_ERRORS):
        return _open_subjects(transfer, plan)


def _open_subjects(transfer, plan):
    from gatys_norm import stages
    from gatys_norm.network import vgg

    config = dataclasses.replace(plan.config, size=plan.sizes).resolved()
    inputs = picture_inputs.load(config)
    weights_file = weights.locate(config.weights)
    layers = frozenset(config.content_layers + config.style_layers)

    def extractor(precision):
        return vgg.load_extractor(weights_file, layers, config.pooling, precision)

    subjects = {}
    for index, size in enumerate(plan.sizes):
        alone = dataclasses.replace(config, size=(size,), iterations=config.iterations[:1])
        strips = transfer.Transfer(alone, inputs, weights_file).plan.strips
        stage, _ = stages.open_stage(config, inputs, index, extractor("float32"), strips)
        objectives = {name: stage.objective_in(name, extractor, config) for name in plan.precisions}
        pictures = stage.pictures()
        start = stage.objective.position(pictures.content)
        subjects[size] = Subject(start, pictures, objectives)
    return subjects


def convolutions(model, layers):
    """Return {"X_Y": (kernel, bias)} up to the deepest of `layers`, in order."""
    chain = {
        layer.name.removeprefix("block").replace("conv", ""): (layer.kernel, layer.bias)
        for layer in model.layers
        if "_conv" in layer.name
    }
    names = list(chain)
    deepest = max(names.index(layer[len("conv") :]) for layer in layers)
    return {name: tuple(map(np.asarray, chain[name])) for name in names[: deepest + 1]}


def chain_of(config):
    """Return the result of `convolutions` for the network and the layers of the settings."""
    from gatys_norm.network import vgg

    model = vgg.load_model(weights.locate(config.weights))
    return convolutions(model, config.content_layers + config.style_layers)


def operations(chain, height, width):
    """Return the number of operations of one value and gradient.

    Only convolutions are counted, a product and its addition as two operations: forward, and the
    same number backward to the picture (kernels have no gradient), so 4 · 9 · C_in · C_out · H_j ·
    W_j per convolution.
    """
    from gatys_norm.network import vgg

    return sum(
        4 * kernel.size * math.prod(vgg.feature_size(f"conv{name}", height, width))
        for name, (kernel, _) in chain.items()
    )


def seconds_of(call, clock="perf_counter"):
    """Return the seconds that `call`, which must wait for its result, takes on average.

    Args:
      call: a function without arguments.
      clock: a clock of `time`; "process_time" counts the CPU seconds of all threads.
    """
    now = getattr(time, clock)
    count, began = 0, now()
    while True:
        call()
        count, elapsed = count + 1, now() - began
        if elapsed >= LEAST_SECONDS:
            return elapsed / count


def matmul_timer(precision):
    """Return a function that times a matrix product; reading an element waits for the device."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    a, b = (tf.cast(generator.normal(size=(MATMUL_SIDE, MATMUL_SIDE)), precision) for _ in range(2))
    return lambda: seconds_of(lambda: float(tf.matmul(a, b)[0, 0]))


def evaluation_timer(objective, start, clock="perf_counter"):
    """Return a function that times one value and gradient; see `seconds_of` for the clock."""
    function, data = objective.function, objective.data

    def evaluate():
        value, gradient, *_ = function(start, *data)
        return float(value), float(gradient[0])

    return lambda: seconds_of(evaluate, clock)


def timing(rounds, name, base):
    """Return the seconds of one timer over all rounds, and its speed relative to another."""
    seconds = [timed[name] for timed in rounds]
    ratios = [timed[base] / timed[name] for timed in rounds]
    return {
        "seconds": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "times_as_fast": median(ratios),
    }


def size_row(rounds, facts, precisions):
    """Return the facts of a size, its timings, and its speed relative to a matrix product."""
    row = dict(facts)
    for precision in precisions:
        timed = timing(rounds, f"{facts['size']} {precision}", f"matmul {precision}")
        share = facts["operations"] / MATMUL_OPERATIONS * timed["times_as_fast"]
        row[precision] = timed | {"share": share}
    return row


def growth(rows, precision):
    """Fit seconds = constant · pixels^exponent to results of `size_row`.

    Returns:
      {"exponent", "residuals": measured / fitted − 1 of each row, "explanation": which size costs
      most per pixel, if the exponent is above `STEEP`}; None for less than three sizes.
    """
    if len(rows) < 3:
        return None
    pixels = np.array([row["height"] * row["width"] for row in rows], float)
    seconds = np.array([row[precision]["seconds"] for row in rows])
    exponent, constant = np.polyfit(np.log(pixels), np.log(seconds), 1)
    residuals = seconds / (np.exp(constant) * pixels**exponent) - 1
    explanation = None
    if exponent > STEEP:
        cost = seconds / pixels / np.median(seconds / pixels)
        worst = int(np.argmax(cost))
        explanation = f"{rows[worst]['size']} px costs {cost[worst]:.2f} times the median per pixel"
    return {
        "exponent": float(exponent),
        "residuals": residuals.tolist(),
        "explanation": explanation,
    }
