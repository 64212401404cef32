"""The same loss in PyTorch, with which ours is compared; runs in an environment of its own.

    python peer.py PROBLEM.npz THREADS

PROBLEM.npz, written by `peer_process.save_problem`, contains kernels, biases, targets, coefficients
and pictures. Each line of standard input is a request in JSON, and gets one line as its answer:

    {"do": "describe"}
    {"do": "evaluate", "variant": "float32 channels_last", "least_seconds": 0.2, "clock": …}
    {"do": "minimize", "variant": …, "loss": 12.5, "most_evaluations": 600, "log_every": 5}
"""

import contextlib
import json
import sys
import time

import numpy as np
import torch
from torch.nn import functional

CHANNEL_MEANS = (103.939, 116.779, 123.68)  # Keras's for VGG-19: BGR
HISTORY = 10
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
VARIANTS = ["float32 contiguous", "float32 channels_last", "bfloat16 channels_last"]
EXACT = VARIANTS[1]  # computes the losses that are logged
EVALUATIONS_WITHOUT_GAIN = 100  # as many above the lowest loss end a minimization


class Ended(Exception):  # noqa: N818, it is not an error
    """The loss has reached its target, or is not falling any more."""


class Problem:
    """The loss as a function of x, 3 × H × W, RGB, 0–255."""

    def __init__(self, path):
        """Read the file."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        arrays = {name: torch.from_numpy(value) for name, value in np.load(path).items()}
        self.start, content, style = (
            arrays.pop(name).permute(2, 0, 1).contiguous().to(self.device)
            for name in ("start", "content", "style")
        )
        self.means = torch.tensor(CHANNEL_MEANS, device=self.device)[:, None, None]
        self.targets, self.coefficients, self.chain = {}, {}, []
        for name, value in arrays.items():
            kind, _, key = name.partition("/")
            if kind == "target":
                is_content = key.startswith("content/")
                value = value.permute(2, 0, 1) if is_content else value
                self.targets[key] = value.contiguous().to(self.device)
            elif kind == "coefficient":
                self.coefficients[key] = float(value)
            elif kind == "kernel":
                kernel = value.permute(3, 2, 0, 1).contiguous().to(self.device)
                self.chain.append((key, kernel, arrays[f"bias/{key}"].to(self.device)))
        self.unit = max(self.coefficients.values())
        self.chains = {variant: self._chain_as(variant) for variant in VARIANTS}
        pictures = {"content": content, "style": style}
        self.targets_of = {variant: self._targets_as(variant, pictures) for variant in VARIANTS}

    def _targets_as(self, variant, pictures):
        """Return the targets; those of bfloat16 in its own rounding, which then cancels."""
        if variant.startswith("float32"):
            return self.targets
        with torch.no_grad():
            return {
                term: value
                for kind, picture in pictures.items()
                for term, value in self._terms(picture, variant)
                if term.startswith(kind)
            }

    def _chain_as(self, variant):
        dtype, layout = variant.split()
        return [
            (name, kernel.to(DTYPES[dtype], memory_format=LAYOUTS[layout]), bias.to(DTYPES[dtype]))
            for name, kernel, bias in self.chain
        ]

    def value(self, image, variant):
        """Return L / unit, the largest coefficient."""
        targets = self.targets_of[variant]
        return sum(
            self.coefficients[term] / self.unit * (value - targets[term]).square().sum()
            for term, value in self._terms(image, variant)
        )

    def value_and_gradient(self, image, variant):
        """Return L / unit and leave its gradient in `image`."""
        image.grad = None
        loss = self.value(image, variant)
        loss.backward()
        return loss.detach()

    def _terms(self, image, variant):
        dtype, layout = variant.split()
        value = (image.flip(0) - self.means)[None]
        value = value.contiguous(memory_format=LAYOUTS[layout])  # autocast rounds it
        block = "1"
        for name, kernel, bias in self.chains[variant]:
            if name[0] != block:
                block, value = name[0], functional.max_pool2d(value, 2)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                value = functional.conv2d(value, kernel, bias, padding=1)
            features = value[0].float()
            tapped = False
            if f"content/conv{name}" in self.targets:
                tapped = True
                yield f"content/conv{name}", features
            if f"style/conv{name}" in self.targets:
                tapped = True
                flat = features.reshape(len(features), -1)
                yield f"style/conv{name}", flat @ flat.T
            value = torch.relu(value) if tapped else torch.relu_(value)

    def new_start(self):
        """Return the start picture as a new leaf."""
        return self.start.clone().requires_grad_()


def describe(problem):
    """Describe PyTorch and its device."""
    device = problem.device.type
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {"torch": torch.__version__, "device": name}


def evaluate(problem, variant, least_seconds, clock="perf_counter"):
    """Return the loss at the start, and the seconds of an evaluation by a clock of `time`."""
    image, now = problem.new_start(), getattr(time, clock)
    count, began = 0, now()
    while count == 0 or now() - began < least_seconds:
        value = problem.value_and_gradient(image, variant)
        float(image.grad[0, 0, 0])  # waits for the device
        count += 1
    seconds = (now() - began) / count
    return {"loss": float(value) * problem.unit, "seconds": seconds}


def minimize(problem, variant, loss, most_evaluations, log_every):
    """Run L-BFGS until a logged loss is at most `loss`, or does not fall any more.

    The objective is scaled as ours, so that minus the gradient is a step of one grey level RMS.

    Returns:
      {"rows": a row for each loss that is logged, "seconds": of all}. A logged loss is float32's.
      In float32 each evaluation gives one; in bfloat16 it is computed after every `log_every`th
      evaluation, in time that the seconds of the rows do not include.
    """
    image, scale, log = problem.new_start(), None, Log(problem, variant, log_every)
    optimizer = torch.optim.LBFGS(
        [image],
        lr=1,
        max_iter=most_evaluations,
        max_eval=most_evaluations,
        tolerance_grad=0,
        tolerance_change=0,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def closure():
        nonlocal scale
        value = problem.value_and_gradient(image, variant)
        if scale is None:
            scale = 1 / float(image.grad.square().mean().sqrt())
        image.grad *= scale
        log.note(image, float(value) * problem.unit)
        if log.rows[-1]["loss"] <= loss or log.has_stalled():
            raise Ended
        return value * scale

    with contextlib.suppress(Ended):
        optimizer.step(closure)
    return {"rows": log.rows, "seconds": time.perf_counter() - log.began}


class Log:
    """The float32 losses of a minimization, with the seconds until each of them."""

    def __init__(self, problem, variant, log_every):
        """Begin to count the seconds; for the arguments see `minimize`."""
        self.problem, self.is_exact = problem, variant.startswith("float32")
        self.log_every = 1 if self.is_exact else log_every
        self.rows, self.evaluations, self.seconds_of_losses = [], 0, 0.0
        self.began = time.perf_counter()

    def note(self, image, loss):
        """Log the loss of a picture, if it is its turn."""
        self.evaluations += 1
        if self.rows and self.evaluations % self.log_every:
            return
        now = time.perf_counter()
        if not self.is_exact:
            with torch.no_grad():
                loss = float(self.problem.value(image, EXACT)) * self.problem.unit
        seconds = now - self.began - self.seconds_of_losses
        self.rows.append({"seconds": seconds, "evaluations": self.evaluations, "loss": loss})
        self.seconds_of_losses += time.perf_counter() - now

    def has_stalled(self):
        """Tell whether the lowest loss is `EVALUATIONS_WITHOUT_GAIN` or more evaluations old."""
        lowest = min(self.rows, key=lambda row: row["loss"])
        return self.evaluations - lowest["evaluations"] >= EVALUATIONS_WITHOUT_GAIN


def main():
    """Answer requests until there are no more."""
    path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.backends.cuda.matmul.allow_tf32 = True  # as TensorFlow does, and as convolutions do
    problem = Problem(path)
    actions = {"describe": describe, "evaluate": evaluate, "minimize": minimize}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(actions[request.pop("do")](problem, **request)), flush=True)


if __name__ == "__main__":
    main()
