"""Measure the speed: evaluations of the loss, both line searches, and transfers to a fixed loss.

    python scripts/benchmarks/speed.py --quick          # some two minutes
    python scripts/benchmarks/speed.py --peer --update  # all, and the tables of the docs

Writes results/benchmark.json (`--output`) and, beside it, the same as tables. Of the main command's
flags it takes --content, --style, --weights, --size and --iterations; the last two are those of
the paper preset's run. The loss to reach is the worse of both presets' last ones.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import report as measuring
from absl import flags
from tqdm import tqdm

from gatys_norm import files
from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import PRESETS, ConfigError, TransferConfig
from gatys_norm.network import weights

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")
PEER = Path(__file__).with_name("peer.py")
TORCH = "2.13.0"

TAKEN = ("content", "style", "weights", "size", "iterations", "output", "flagfile")
FULL = {"sizes": (128, 192, 256, 384, 512, 768, 1024), "rounds": 7, "size": 512, "iterations": 600}
QUICK = {"sizes": (128, 256, 384), "rounds": 3, "size": 128, "iterations": 40}
HEADLINE_SIZES = (256, 512, 1024)
PRECISIONS = ("float32", "bfloat16")

MATMUL_SIDE = 4096
MATMUL_OPERATIONS = 2 * MATMUL_SIDE**3
LEAST_SECONDS = 0.2  # a timing lasts at least so long; what is quicker is repeated
STEEP = 1.05  # growth with a higher power of the pixels is explained
SEARCH_SIZE = 256
SEARCH_SHARE = 4  # the line searches get a fourth of the iterations
LOG_EVERY = 5
AGREEMENT, TF32_AGREEMENT = 1e-4, 1e-2  # of the peer's first loss with ours
PATIENCE = 4  # evaluations the peer may take for each iteration of the paper preset


class Plan(NamedTuple):
    """What is measured.

    `config` is the paper preset's run, of `size` and `iterations`; `sizes` are those of single
    evaluations, `size` among them.
    """

    config: TransferConfig
    size: int
    iterations: int
    sizes: tuple
    rounds: int
    repeats: int
    peer_python: Path | None = None


def define_flags(values):
    """Add the flags of this program."""
    count = functools.partial(flags.DEFINE_integer, lower_bound=1, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, default=False, flag_values=values)
    flags.DEFINE_list("sizes", None, "long sides to time single evaluations at", values)
    count("rounds", None, "rounds of timings, of which medians are taken")
    count("repeats", 1, "runs of each contestant to the fixed loss")
    switch("quick", help="less of everything, for some two minutes")
    switch("peer", help=f"compare with PyTorch {TORCH}, which pip installs into --peer_dir")
    cli_flags.define_path("peer_dir", "results/peer", "virtual environment of --peer", values)
    switch("update", help="write the tables into README.md and docs/performance.md")


def benchmark(values):
    """Measure everything and write the report."""
    load = os.getloadavg()[0]
    plan = plan_from_flags(values)
    output = measuring.report_path(values.output or "results/benchmark.json")
    machine = measuring.in_own_process(measuring.describe_machine, plan.config.weights, load)
    if values.update:
        for page in PAGES:
            measuring.update(page, markers(machine["kind"]))
    plan = plan._replace(
        config=dataclasses.replace(plan.config, weights=machine["weights"]),
        peer_python=install_peer(Path(values.peer_dir)) if values.peer else None,
    )
    report = {"machine": machine} | measure(plan)
    tables = all_tables(report)
    contents = {output: json.dumps(report, indent=1), output.with_suffix(".md"): tables + "\n"}
    files.write_together({path: text.encode() for path, text in contents.items()})
    print(tables)
    print(f"\nwritten: {', '.join(map(str, contents))}")
    if values.update:
        for page, text in zip(PAGES, (headline_tables(report), tables), strict=True):
            measuring.update(page, markers(machine["kind"]), text)


def plan_from_flags(values):
    """Return the `Plan` that the flags describe."""
    cli_flags.take_only(TAKEN, values, "the contestants have their own")
    default = QUICK if values.quick else FULL
    defaults = {
        "content": str(ROOT / "data" / "river_town.jpg"),
        "style": str(ROOT / "data" / "flowing_strokes.jpg"),
        "size": (default["size"],),
        "iterations": (default["iterations"],),
    }
    absent = {name: value for name, value in defaults.items() if not values[name].present}
    config = cli_flags.config_from_flags(values, log_every=LOG_EVERY, **absent)
    if len(config.size) > 1:
        raise errors.InputError("--size: must be one size; --sizes are for single evaluations")
    try:
        sizes = [int(size) for size in values.sizes or default["sizes"]]
    except ValueError as error:
        raise errors.InputError("--sizes: must be whole numbers separated by commas") from error
    sizes = tuple(sorted({*sizes, *config.size}))
    with errors.refusing(ConfigError, prefix="--sizes: "):
        dataclasses.replace(config, size=sizes)
    rounds = values.rounds or default["rounds"]
    return Plan(config, *config.size, *config.iterations, sizes, rounds, values.repeats)


def say(text):
    """Show on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)


def progress_bar(title, total=None):
    """Return a bar on standard error, which says how long is left; rarely, if nobody watches."""
    return tqdm(desc=title, total=total, mininterval=0.1 if sys.stderr.isatty() else 30)


def measure(plan):
    """Measure everything and return the report, all but the machine."""
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder, "problem.npz")
        say(f"1 of 3: single evaluations at {', '.join(map(str, plan.sizes))} px")
        found = measuring.in_own_process(measure_evaluations, plan, problem)
        rounds, size = found["rounds"], plan.size
        sizes = [size_row(rounds, facts) for facts in found["sizes"]]
        peer = found["peer"] and peer_timings(found["peer"], rounds, size)
        runs = 1 / SEARCH_SHARE + plan.repeats * (3 if peer else 1.5)  # as long as the paper's
        left = plan.iterations * runs * median(timed[f"{size} float32"] for timed in rounds)
        say(f"2 of 3: line searches; with all that follows some {left:.0f} s left")
        line_searches = measure_line_searches(plan)
        say(f"3 of 3: transfers at {plan.size} px to a loss that both presets reach")
        fixed_loss = measure_fixed_loss(plan, problem, peer)
    return {
        "settings": plan.config.as_dict() | {"rounds": plan.rounds, "repeats": plan.repeats},
        "matmul": {
            precision: timing(rounds, f"matmul {precision}", f"matmul {precision}")
            for precision in PRECISIONS
        },
        "sizes": sizes,
        "growth": {precision: growth(sizes, precision) for precision in PRECISIONS},
        "line_searches": line_searches,
        "fixed_loss": fixed_loss,
        "peer": peer,
        "rounds": rounds,
    }


# --- single evaluations --------------------------------------------------------------------------


def measure_evaluations(plan, problem):
    """Time matrix products, evaluations and the peer's in turn, round after round.

    Args:
      plan: `Plan`.
      problem: where to write what the peer is given.

    Returns:
      {"rounds": [{what: seconds}], "sizes": [facts of a size], "peer": what it says, or None}.
    """
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # leaves room on a GPU for the peer
    transfer = loading.start_tensorflow()
    with errors.refusing(*transfer.INPUT_ERRORS):
        posed = pose(transfer, plan)
    model = transfer.vgg.load_model(weights.locate(plan.config.weights))
    chain = convolutions(model, plan.config.content_layers + plan.config.style_layers)
    sizes = []
    timers = {
        f"matmul {precision}": matmul_timer(transfer.tf, precision) for precision in PRECISIONS
    }
    for size, (start, objectives) in posed.items():
        height, width, _ = objectives["float32"].shape
        facts = {"size": size, "height": height, "width": width}
        facts["operations"] = operations(chain, height, width)
        sizes.append(facts | {"in_strips": objectives["float32"].in_strips})
        for precision, objective in objectives.items():
            timers[f"{size} {precision}"] = evaluation_timer(objective, start)
    with contextlib.ExitStack() as stack:
        about_peer = None
        if plan.peer_python:
            start, objectives = posed[plan.size]
            save_problem(problem, chain, objectives["float32"], start)
            peer = stack.enter_context(Peer(plan.peer_python, problem))
            about_peer = peer.ask("describe")
            check_agreement(peer, about_peer["device"], objectives["float32"], start)
            for variant in about_peer["variants"]:
                timers[f"peer {variant}"] = functools.partial(peer.seconds, variant)
        say("tracing")
        for timer in timers.values():
            timer()
        bar = stack.enter_context(progress_bar("timing", plan.rounds * len(timers)))
        rounds = []
        for _ in range(plan.rounds):
            rounds.append({})
            for name, timer in timers.items():
                rounds[-1][name] = timer()
                bar.update()
    return {"rounds": rounds, "sizes": sizes, "peer": about_peer}


def pose(transfer, plan):
    """Return {size: (start, {precision: objective})}, posed as `stylize` poses them."""
    config = dataclasses.replace(plan.config, size=plan.sizes).resolved()
    pictures = transfer.scenes.load_pictures(config)
    layers = frozenset(config.content_layers + config.style_layers)
    file = weights.locate(config.weights)
    extractors = {
        precision: transfer.vgg.load_extractor(file, layers, config.pooling, precision)
        for precision in PRECISIONS
    }
    posed = {}
    for size in plan.sizes:
        own = dataclasses.replace(config, size=(size,), iterations=config.iterations[:1])
        scene = transfer.scenes.at_size(own, pictures, size)
        in_strips = transfer.plan_memory(own, pictures).in_strips
        float32 = transfer.objective.pose(own, extractors["float32"], scene, in_strips)
        bfloat16 = transfer.objective.in_precision_of(extractors["bfloat16"], float32, own, scene)
        objectives = {"float32": float32, "bfloat16": bfloat16}
        posed[size] = float32.position(scene.content), objectives
    return posed


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
    """Return the operations of one value and gradient: 2 for a product and its sum.

    Only the convolutions count: forward, and as much again back to the picture (the kernels have
    no gradient), so 4 · 9 · C_in · C_out · H_j · W_j each.
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


def matmul_timer(tf, precision):
    """Return the function that times a matrix product; fetching an element waits for the device."""
    generator = np.random.default_rng(0)
    a, b = (tf.cast(generator.normal(size=(MATMUL_SIDE, MATMUL_SIDE)), precision) for _ in range(2))
    return lambda: seconds_of(lambda: float(tf.matmul(a, b)[0, 0]))


def evaluation_timer(objective, start):
    """Return the function that times one value and gradient."""
    function, data = objective.function, objective.data

    def evaluate():
        value, gradient = function(start, *data)
        return float(value), float(gradient[0])

    return lambda: seconds_of(evaluate)


def timing(rounds, name, base):
    """Return the seconds of one thing over the rounds, and how fast it is against another."""
    seconds = [timed[name] for timed in rounds]
    ratios = [timed[base] / timed[name] for timed in rounds]
    return {
        "seconds": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "times_as_fast": median(ratios),
    }


def size_row(rounds, facts):
    """Return the facts of a size with its timings and shares of the same round's matmul rate."""
    row = dict(facts)
    for precision in PRECISIONS:
        found = timing(rounds, f"{facts['size']} {precision}", f"matmul {precision}")
        share = facts["operations"] / MATMUL_OPERATIONS * found["times_as_fast"]
        row[precision] = found | {"share": share}
    return row


def growth(rows, precision):
    """Fit seconds = constant · pixels^exponent to what `size_row` gave.

    Returns:
      {"exponent", "residuals": measured / fitted − 1 of each row, "explanation": which size costs
      most a pixel, if the exponent is above `STEEP`}; None for less than three sizes.
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
        explanation = f"{rows[worst]['size']} px costs {cost[worst]:.2f} times the median a pixel"
    return {
        "exponent": float(exponent),
        "residuals": residuals.tolist(),
        "explanation": explanation,
    }


# --- transfers -----------------------------------------------------------------------------------


def run_transfer(config, title, began):
    """Run one transfer and return a row for every logged iteration at the full size.

    Seconds are the optimiser's, of all sizes; "wall" counts from `began`, so with the start of the
    process, the tracing and the logging. Losses are float32 whatever the network's precision, and
    evaluations are a list, coarse to fine.
    """
    transfer = loading.start_tensorflow()
    moments = {}
    with progress_bar(title) as bar:

        def note(progress):
            wall = time.monotonic() - began
            moments[progress.iteration] = {"seconds": progress.seconds, "wall": wall}
            bar.total = progress.iterations
            bar.update(progress.iteration - bar.n)

        with errors.refusing(*transfer.INPUT_ERRORS):
            record = transfer.stylize(config, note).record
    *coarse, full = record["stages"]
    before = sum(stage["iterations"] for stage in coarse)
    evaluations_before = [stage["evaluations"] for stage in coarse]
    return [
        {
            "iterations": before + row["iteration"],
            "evaluations": [*evaluations_before, row["evaluations"]],
            "loss": row["loss"],
            **moments[before + row["iteration"]],
        }
        for row in record["history"]
        if row["size"] == full["size"] and row["iteration"] > 0
    ]


def measure_line_searches(plan):
    """Return {line search: the last row of its run, with its size}."""
    config = dataclasses.replace(
        plan.config,
        size=(min(SEARCH_SIZE, plan.size),),
        iterations=(max(1, plan.iterations // SEARCH_SHARE),),
    )
    found = {}
    for name in ("unit_step", "hager_zhang"):
        own = dataclasses.replace(config, line_search=name)
        last = measuring.in_own_process(run_transfer, own, name, time.monotonic())[-1]
        per_iteration = sum(last["evaluations"]) / last["iterations"]
        found[name] = {"size": config.size[0], "evaluations_per_iteration": per_iteration, **last}
    return found


def measure_fixed_loss(plan, problem, peer):
    """Let every contestant run in turn, `repeats` times, to the worse of both presets' last losses.

    That is the lowest loss that both reach, so that no time is that of a run cut short.
    """
    fast = dataclasses.replace(plan.config, **PRESETS["fast"])
    contestants = {
        name: functools.partial(measuring.in_own_process, run_transfer, config, name)
        for name, config in {"paper preset": plan.config, "fast preset": fast}.items()
    }
    runs = collections.defaultdict(list)
    for _ in range(plan.repeats):
        for name, run in contestants.items():
            runs[name].append(run(time.monotonic()))
        loss = max(runs[name][0][-1]["loss"] for name in contestants)
        if peer:
            runs["PyTorch L-BFGS"].append(run_peer(plan, problem, peer, loss))
    return {"loss": loss, "contestants": summarize_runs(runs, loss), "runs": runs}


def first_at_or_below(rows, loss):
    """Return the first row whose loss is at most `loss`, or None."""
    return next((row for row in rows if row["loss"] <= loss), None)


def summarize_runs(runs, loss):
    """Return {contestant: medians over its runs at the fixed loss, and ratios to the first one's}.

    Args:
      runs: {contestant: [rows of a run]}; runs of one number went one after the other.
      loss: the fixed loss. Who does not reach it gets no ratios, and the times of its whole runs.
    """
    summary, first = {}, None
    for name, own in runs.items():
        ends = [first_at_or_below(rows, loss) or rows[-1] for rows in own]
        first = first or ends
        reached = all(end["loss"] <= loss for end in ends)
        summary[name] = {
            "reached": reached,
            "loss": ends[0]["loss"],
            "evaluations": ends[0]["evaluations"],
        }
        for key in ("seconds", "wall"):
            ratios = [base[key] / end[key] for base, end in zip(first, ends, strict=True)]
            summary[name][key] = median(end[key] for end in ends)
            summary[name][f"{key}_ratio"] = median(ratios) if reached else None
    return summary


# --- the same loss in PyTorch --------------------------------------------------------------------


def install_peer(folder):
    """Make the peer's virtual environment, unless it is there; return its Python."""
    python = (folder / "bin" / "python").absolute()
    test = f"import numpy, torch; assert torch.__version__.split('+')[0] == '{TORCH}'"
    if python.exists() and not subprocess.run([python, "-c", test], capture_output=True).returncode:
        return python
    say(f"installing PyTorch {TORCH} into {folder}")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", folder], [*pip, f"torch=={TORCH}", "numpy"]):
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            said = (finished.stderr or finished.stdout).strip().splitlines()[-1:]
            raise errors.InputError(f"--peer: PyTorch could not be installed: {' '.join(said)}")
    return python


def save_problem(path, chain, objective, start):
    """Write the loss for the peer: kernels, biases, targets, coefficients, start picture."""
    arrays = {"start": objective.image(start).numpy()}
    for name, layer in chain.items():
        arrays[f"kernel/{name}"], arrays[f"bias/{name}"] = map(np.asarray, layer.get_weights())
    for term, target in objective.targets.items():
        arrays[f"target/{term}"] = target.numpy()
        arrays[f"coefficient/{term}"] = objective.coefficients[term]
    np.savez(path, **arrays)


class Peer(contextlib.AbstractContextManager):
    """peer.py as a process that answers requests."""

    def __init__(self, python, problem):
        """Start it; its idle threads sleep, because spinning would slow down whoever is timed."""
        self.process = subprocess.Popen(
            [python, PEER, problem],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"OMP_WAIT_POLICY": "passive"} | os.environ,
        )

    def __exit__(self, *exception):
        """Let it end, as it does with its input."""
        self.process.stdin.close()
        self.process.wait()

    def ask(self, what, **details):
        """Return its answer to one request."""
        self.process.stdin.write(json.dumps({"do": what} | details) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{PEER.name} ended with {self.process.wait()}")
        return json.loads(answer)

    def seconds(self, variant):
        """Return the seconds of one evaluation."""
        return self.ask("evaluate", variant=variant, least_seconds=LEAST_SECONDS)["seconds"]


def check_agreement(peer, device, objective, start):
    """See that the peer minimises the same loss; on a GPU both round products to TF32."""
    ours = objective.loss(objective.terms(start))
    theirs = peer.ask("evaluate", variant="float32 contiguous", least_seconds=0)["loss"]
    if abs(theirs / ours - 1) > (AGREEMENT if device == "cpu" else TF32_AGREEMENT):
        raise RuntimeError(f"the first loss is {theirs} in PyTorch and {ours} here")


def peer_timings(about, rounds, size):
    """Return what the peer says of itself, with the timings of its variants against ours."""
    timings = {
        variant: timing(rounds, f"peer {variant}", f"{size} {variant.split()[0]}")
        for variant in about["variants"]
    }
    return about | {"variants": timings}


def run_peer(plan, problem, peer, loss):
    """Run PyTorch's L-BFGS to the fixed loss, in float32 and the faster layout."""
    float32 = {name: row for name, row in peer["variants"].items() if "bfloat16" not in name}
    variant = min(float32, key=lambda name: float32[name]["seconds"])
    began = time.monotonic()
    with Peer(plan.peer_python, problem) as process:
        most = PATIENCE * plan.iterations
        rows = process.ask("minimize", variant=variant, loss=loss, most_evaluations=most)["rows"]
        start_up = time.monotonic() - began - rows[-1]["seconds"]
    return [
        row | {"evaluations": [row["evaluations"]], "wall": row["seconds"] + start_up}
        for row in rows
    ]


# --- tables --------------------------------------------------------------------------------------


def headline_tables(report):
    """Return what README.md shows."""
    rows = [row for row in report["sizes"] if row["size"] in HEADLINE_SIZES] or report["sizes"]
    return "\n\n".join([size_table(rows), *fixed_loss_part(report), machine_line(report)])


def all_tables(report):
    """Return the whole report as Markdown."""
    rates = [
        f"{MATMUL_OPERATIONS / found['seconds'] / 1e9:.0f} in {precision}"
        for precision, found in report["matmul"].items()
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
    return measuring.machine_line(report["machine"], *peer)


def size_table(rows):
    """Return the table of single evaluations."""
    titles = "long side | picture | GFLOP"
    titles += "".join(f" | {name}, s | least–most | of matmul's rate" for name in PRECISIONS)
    lines = []
    for row in rows:
        strips = ", in strips" if row["in_strips"] else ""
        line = f"{row['size']} | {row['width']}×{row['height']}{strips} | "
        line += f"{row['operations'] / 1e9:.0f}"
        for found in (row[precision] for precision in PRECISIONS):
            line += f" | {found['seconds']:.3g} | {found['least']:.3g}–{found['most']:.3g}"
            line += f" | {found['share']:.0%}"
        lines.append(line)
    return measuring.table(titles, lines)


def growth_part(report):
    """Return the fitted exponents with their residuals."""
    titles = ["precision", "exponent", *(f"{row['size']} px" for row in report["sizes"])]
    lines, steep = [], []
    for precision, found in report["growth"].items():
        residuals = [f"{residual:+.1%}" for residual in found["residuals"]]
        lines.append(" | ".join([precision, f"{found['exponent']:.3f}", *residuals]))
        if found["explanation"]:
            steep.append(f"The exponent in {precision} is above {STEEP}: {found['explanation']}.")
    text = "Seconds grow with pixels^exponent; how far each size lies off that fit:"
    return ["### Growth", text, measuring.table(" | ".join(titles), lines), *steep]


def peer_part(report):
    """Return the table of PyTorch's evaluations."""
    peer, size = report["peer"], report["settings"]["size"][0]
    text = f"The same loss at {size} px in PyTorch {peer['torch']} on {peer['device']}:"
    lines = [
        f"{variant} | {found['seconds']:.3g} | {found['times_as_fast']:.2f}"
        for variant, found in peer["variants"].items()
    ]
    titles = "variant | s | times as fast as ours"
    return ["### One evaluation in PyTorch", text, measuring.table(titles, lines)]


def line_search_part(runs):
    """Return the table of the line searches."""
    titles = "line search | iterations | evaluations | for an iteration | last loss | s"
    lines = [
        f"{name} | {run['iterations']} | {sum(run['evaluations'])} | "
        f"{run['evaluations_per_iteration']:.2f} | {run['loss']:.4g} | {run['seconds']:.1f}"
        for name, run in runs.items()
    ]
    text = f"At {runs['unit_step']['size']} px:"
    return ["### Line searches", text, measuring.table(titles, lines)]


def fixed_loss_part(report):
    """Return the table of the transfers to the fixed loss."""
    settings, fixed = report["settings"], report["fixed_loss"]
    titles = (
        "contestant | loss | evaluations | optimiser, s | times as fast | all, s | times as fast"
    )
    lines = []
    for name, found in fixed["contestants"].items():
        line = f"{name} | {found['loss']:.4g}{'' if found['reached'] else ', not reached'} | "
        line += " + ".join(map(str, found["evaluations"]))
        for key in ("seconds", "wall"):
            ratio = found[f"{key}_ratio"]
            line += f" | {found[key]:.1f} | " + (f"{ratio:.2f}" if ratio else "–")
        lines.append(line)
    ends = " and ".join(
        f"{fixed['runs'][name][0][-1]['loss']:.4g} (the {name}, after "
        f"{fixed['runs'][name][0][-1]['iterations']} iterations and "
        f"{fixed['runs'][name][0][-1]['seconds']:.0f} s)"
        for name in ("paper preset", "fast preset")
    )
    text = (
        f"Transfers at {settings['size'][0]} px end at a loss of {ends}; the times are those to "
        f"the higher one. Runs of each: {settings['repeats']}. The optimiser's time is without, "
        f"all the time with the start of the program, the tracing, and the loss every {LOG_EVERY} "
        "iterations."
    )
    return [text, measuring.table(titles, lines)]


def markers(kind):
    """Return what encloses the tables of a kind of device on a page."""
    return f"<!-- benchmark {kind} -->", f"<!-- end benchmark {kind} -->"


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
