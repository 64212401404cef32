"""Timing of single evaluations of the loss, and of matrix products in the same round."""

import contextlib
import dataclasses
import functools
import math
import os
import time
from statistics import median

import numpy as np
import peer_process
import report as benchmark_report
from speed_plan import PRECISIONS, say

from gatys_norm.cli import errors, loading
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.network import weights

MATMUL_SIDE = 4096
MATMUL_OPERATIONS = 2 * MATMUL_SIDE**3
LEAST_SECONDS = 0.2  # least time of a measurement; quicker calls are repeated
STEEP = 1.05  # above this power of the number of pixels, the report explains the growth


def measure(plan, problem):
    """Time matrix products, evaluations and the peer's in turn, round after round.

    Args:
      plan: `Plan`.
      problem: path of the file to write for the peer.

    Returns:
      {"rounds": [{name: seconds}], "sizes": [facts of a size], "peer": its description or None}.
    """
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # leaves memory of a GPU for the peer
    transfer = loading.start_tensorflow()
    from gatys_norm.network import vgg

    with errors.refusing(*transfer.INPUT_ERRORS):
        stages = open_stages(transfer, plan)
    model = vgg.load_model(weights.locate(plan.config.weights))
    chain = convolutions(model, plan.config.content_layers + plan.config.style_layers)
    timers = {f"matmul {precision}": matmul_timer(precision) for precision in PRECISIONS}
    sizes = []
    for size, (start, objectives) in stages.items():
        height, width, _ = objectives["float32"].shape
        facts = {"size": size, "height": height, "width": width}
        facts["operations"] = operations(chain, height, width)
        sizes.append(facts | {"in_strips": objectives["float32"].in_strips})
        for precision, objective in objectives.items():
            timers[f"{size} {precision}"] = evaluation_timer(objective, start)
    with contextlib.ExitStack() as stack:
        about_peer = None
        if plan.peer_python:
            start, objectives = stages[plan.size]
            peer_process.save_problem(problem, chain, objectives["float32"], start)
            peer = stack.enter_context(peer_process.Peer(plan.peer_python, problem))
            about_peer = peer.ask("describe")
            peer_process.check_agreement(peer, about_peer["device"], objectives["float32"], start)
            for variant in about_peer["variants"]:
                seconds = functools.partial(peer.seconds, variant, LEAST_SECONDS)
                timers[f"peer {variant}"] = seconds
        return {"rounds": time_rounds(timers, plan.rounds), "sizes": sizes, "peer": about_peer}


def time_rounds(timers, count):
    """Call all timers in turn, round after round; return [{name: seconds}]."""
    say("tracing")
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


def open_stages(transfer, plan):
    """Return {size: (start, {precision: objective})}, as a transfer makes them."""
    from gatys_norm import stages
    from gatys_norm.network import vgg

    config = dataclasses.replace(plan.config, size=plan.sizes).resolved()
    inputs = picture_inputs.load(config)
    weights_file = weights.locate(config.weights)
    layers = frozenset(config.content_layers + config.style_layers)

    def extractor(precision):
        return vgg.load_extractor(weights_file, layers, config.pooling, precision)

    opened = {}
    for index, size in enumerate(plan.sizes):
        alone = dataclasses.replace(config, size=(size,), iterations=config.iterations[:1])
        in_strips = transfer.Transfer(alone, inputs, weights_file).plan.in_strips
        stage = stages.open_stage(config, inputs, index, extractor("float32"), in_strips, None)
        objectives = {name: stage.objective_in(name, extractor, config) for name in PRECISIONS}
        opened[size] = stage.objective.position(stage.inputs.content), objectives
    return opened


def convolutions(model, layers):
    """Return {"X_Y": Keras layer} of the convolutions up to the deepest of `layers`, in order."""
    chain = {
        layer.name.removeprefix("block").replace("conv", ""): layer
        for layer in model.layers
        if "_conv" in layer.name
    }
    names = list(chain)
    deepest = max(names.index(layer[len("conv") :]) for layer in layers)
    return {name: chain[name] for name in names[: deepest + 1]}


def operations(chain, height, width):
    """Return the number of operations of one value and gradient.

    Only convolutions are counted, a product and its addition as two operations: forward, and the
    same number backward to the picture (kernels have no gradient), so 4 · 9 · C_in · C_out · H_j ·
    W_j per convolution.
    """
    from gatys_norm.network import vgg

    return sum(
        4
        * math.prod(layer.kernel.shape)
        * math.prod(vgg.feature_size(f"conv{name}", height, width))
        for name, layer in chain.items()
    )


def seconds_of(call):
    """Return the seconds that `call`, which must wait for its result, takes on average."""
    count, began = 0, time.perf_counter()
    while True:
        call()
        count, elapsed = count + 1, time.perf_counter() - began
        if elapsed >= LEAST_SECONDS:
            return elapsed / count


def matmul_timer(precision):
    """Return a function that times a matrix product; reading an element waits for the device."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    a, b = (tf.cast(generator.normal(size=(MATMUL_SIDE, MATMUL_SIDE)), precision) for _ in range(2))
    return lambda: seconds_of(lambda: float(tf.matmul(a, b)[0, 0]))


def evaluation_timer(objective, start):
    """Return a function that times one value and gradient."""
    function, data = objective.function, objective.data

    def evaluate():
        value, gradient, *_ = function(start, *data)
        return float(value), float(gradient[0])

    return lambda: seconds_of(evaluate)


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


def size_row(rounds, facts):
    """Return the facts of a size, its timings, and its speed relative to a matrix product."""
    row = dict(facts)
    for precision in PRECISIONS:
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


def peer_timings(about, rounds, size):
    """Return the description of the peer, with the timings of its variants relative to ours."""
    timings = {
        variant: timing(rounds, f"peer {variant}", f"{size} {variant.split()[0]}")
        for variant in about["variants"]
    }
    return about | {"variants": timings}
