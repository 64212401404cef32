"""The process of peer.py, the same loss in PyTorch, and the requests to it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from speed_plan import say

from gatys_norm.cli import errors

PEER = Path(__file__).with_name("peer.py")
TORCH = "2.13.0"
AGREEMENT, TF32_AGREEMENT = 1e-4, 1e-2  # relative, between the first losses of the peer and of ours
PATIENCE = 4  # evaluations that the peer may use per iteration of the paper preset


def install(folder):
    """Make the virtual environment of the peer, unless it exists; return its Python."""
    python = (folder / "bin" / "python").absolute()
    test = f"import numpy, torch; assert torch.__version__.split('+')[0] == '{TORCH}'"
    if python.exists() and not subprocess.run([python, "-c", test], capture_output=True).returncode:
        return python
    say(f"installing PyTorch {TORCH} into {folder}")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", folder], [*pip, f"torch=={TORCH}", "numpy"]):
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            last_line = (finished.stderr or finished.stdout).strip().splitlines()[-1:]
            raise errors.InputError(
                f"--peer: PyTorch could not be installed: {' '.join(last_line)}"
            )
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
        """Start the process; its idle threads sleep, so that they do not slow down measurements."""
        self.process = subprocess.Popen(
            [python, PEER, problem],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"OMP_WAIT_POLICY": "passive"} | os.environ,
        )

    def __exit__(self, *exception):
        """Close its input, with which the process ends."""
        self.process.stdin.close()
        self.process.wait()

    def ask(self, request, **details):
        """Return the answer to one request."""
        self.process.stdin.write(json.dumps({"do": request} | details) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{PEER.name} ended with {self.process.wait()}")
        return json.loads(answer)

    def seconds(self, variant, least_seconds):
        """Return the seconds of one evaluation, measured over at least `least_seconds`."""
        return self.ask("evaluate", variant=variant, least_seconds=least_seconds)["seconds"]


def check_agreement(peer, device, objective, start):
    """Check that the peer minimizes the same loss; on a GPU both round products to TF32."""
    ours = objective.loss(objective.terms(start))
    theirs = peer.ask("evaluate", variant="float32 contiguous", least_seconds=0)["loss"]
    if abs(theirs / ours - 1) > (AGREEMENT if device == "cpu" else TF32_AGREEMENT):
        raise RuntimeError(f"the first loss is {theirs} in PyTorch and {ours} here")


def run(plan, problem, peer, loss):
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
