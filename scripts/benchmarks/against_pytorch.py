"""One evaluation of ours and of PyTorch's in turn: with one thread each, and with all."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import tempfile
from pathlib import Path
from statistics import median

import evaluations
import peer_process
import report as benchmark_report

from gatys_norm import machine, surroundings

# {name of a comparison: the clock of `time` that it uses}. With one thread each, CPU seconds are
# nearly what an idle machine would take, also if other programs keep the cores busy.
CLOCKS = {"one thread": "process_time", "all threads": "perf_counter"}
ROOM_ON_A_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # leaves memory for PyTorch


def measure(config, sizes, rounds, precisions, python):
    """Time evaluations at every size.

    Args:
      config: `TransferConfig`, of which the size is replaced.
      sizes: long sides in pixels.
      rounds: number of rounds.
      precisions: number formats.
      python: path of the Python that has PyTorch.

    Returns:
      {"about": the peer's description, "rounds": {size: {name of `CLOCKS`: [{timer: seconds}]}},
      "rows": results of `row`}.
    """
    about, all_rounds, rows = None, {}, []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            benchmark_report.say(f"against PyTorch at {size} px")
            problem = Path(folder, f"{size}.npz")
            alone = dataclasses.replace(config, size=(size,))
            plan = evaluations.Plan(alone, (size,), rounds, precisions)
            benchmark_report.in_own_process(peer_process.write_problem, alone, problem)
            with peer_process.Peer(python, problem, machine.cores()) as peer:
                peer_process.check_agreement(peer, problem)
                about = peer.ask("describe")
            timed = {threads: time_in_turn(plan, problem, python, threads) for threads in CLOCKS}
            all_rounds[size] = timed
            rows += [row(size, precision, timed) for precision in precisions]
    return {"about": about, "rounds": all_rounds, "rows": rows}


def time_in_turn(plan, problem, python, threads):
    """Return [{timer: seconds}] of a plan with one size, for a name of `CLOCKS`."""
    clock = CLOCKS[threads]
    variables, count = (
        (benchmark_report.ONE_THREAD, 1) if threads == "one thread" else ({}, machine.cores())
    )
    timers = {}
    with own_process(variables) as ours, peer_process.Peer(python, problem, count) as peer:
        for precision in plan.precisions:
            timer = functools.partial(ours, seconds_here, plan, precision, clock)
            timers[f"ours {precision}"] = timer
            for variant in peer_process.VARIANTS[precision]:
                timers[variant] = functools.partial(peer.seconds, variant, clock)
        return evaluations.time_rounds(timers, plan.rounds)


@contextlib.contextmanager
def own_process(variables):
    """Yield a function that calls functions in one new process, which has variables of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:

        def call(function, *arguments):
            return pool.submit(function, *arguments).result()

        with surroundings.environment_variables(ROOM_ON_A_GPU | variables):
            call(int)  # starts the process
        yield call


def seconds_here(plan, precision, clock):
    """Time one evaluation in this process."""
    return _timers(plan, clock)[precision]()


@functools.cache
def _timers(plan, clock):
    subject = evaluations.open_subjects(plan)[plan.sizes[0]]
    return {
        precision: evaluations.evaluation_timer(objective, subject.start, clock)
        for precision, objective in subject.objectives.items()
    }


def row(size, precision, timed):
    """Return the medians of both sides, and of their ratios within a round.

    Args:
      size: long side in pixels.
      precision: number format.
      timed: {name of `CLOCKS`: [{timer: seconds}]}.

    Returns:
      {"size", "precision", name of `CLOCKS`: {"ours", "layout": PyTorch's faster one, "peer",
      "ratio": ours / peer}}.
    """
    return {"size": size, "precision": precision} | {
        threads: _compared(precision, rounds) for threads, rounds in timed.items()
    }


def _compared(precision, rounds):
    variants = peer_process.VARIANTS[precision]
    medians = {name: median(timed[name] for timed in rounds) for name in variants}
    best = min(variants, key=medians.get)
    ours = f"ours {precision}"
    return {
        "ours": median(timed[ours] for timed in rounds),
        "layout": best.split()[1],
        "peer": medians[best],
        "ratio": median(timed[ours] / timed[best] for timed in rounds),
    }
