"""The same loss in PyTorch, with which speed.py compares; runs in a separate environment.

    python peer.py PROBLEM.npz

PROBLEM.npz, written by speed.py, contains kernels, biases, targets, coefficients and the first
picture. Each line of standard input is a request in JSON, and gets one line as its answer:

    {"do": "describe"}
    {"do": "evaluate", "variant": "float32 channels_last", "least_seconds": 0.2}
    {"do": "minimize", "variant": …, "loss": 12.5, "most_evaluations": 600}
"""

import contextlib
import json
import os
import sys
import time

import numpy as np
import torch
from torch.nn import functional

CHANNEL_MEANS = (103.939, 116.779, 123.68)  # Keras's for VGG-19: BGR
HISTORY = 10
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
VARIANTS = [f"{dtype} {layout}" for dtype in DTYPES for layout in LAYOUTS]


class Reached(Exception):  # noqa: N818, it is not an error
    """The loss has reached its target."""


class Problem:
    """The loss as a function of x, 3 × H × W, RGB, 0–255."""

    def __init__(self, path):
        """Read what speed.py wrote."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        arrays = {name: torch.from_numpy(value) for name, value in np.load(path).items()}
        self.start = arrays.pop("start").permute(2, 0, 1).contiguous().to(self.device)
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

    def _chain_as(self, variant):
        dtype, layout = variant.split()
        return [
            (name, kernel.to(DTYPES[dtype], memory_format=LAYOUTS[layout]), bias.to(DTYPES[dtype]))
            for name, kernel, bias in self.chain
        ]

    def value_and_gradient(self, image, variant):
        """Return L / unit, the largest coefficient, and leave the gradient in `image`."""
        image.grad = None
        loss = sum(
            self.coefficients[term] / self.unit * (value - self.targets[term]).square().sum()
            for term, value in self._terms(image, variant)
        )
        loss.backward()
        return loss.detach()

    def _terms(self, image, variant):
        dtype, layout = variant.split()
        value = (image.flip(0) - self.means)[None]
        value = value.to(DTYPES[dtype], memory_format=LAYOUTS[layout])
        block = "1"
        for name, kernel, bias in self.chains[variant]:
            if name[0] != block:
                block, value = name[0], functional.max_pool2d(value, 2)
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
    return {"torch": torch.__version__, "device": name, "variants": VARIANTS}


def evaluate(problem, variant, least_seconds):
    """Return the loss at the start, and the seconds of an evaluation."""
    image = problem.new_start()
    count, began = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - began < least_seconds:
        value = problem.value_and_gradient(image, variant)
        float(image.grad[0, 0, 0])  # waits for the device
        count += 1
    seconds = (time.perf_counter() - began) / count
    return {"loss": float(value) * problem.unit, "seconds": seconds}


def minimize(problem, variant, loss, most_evaluations):
    """Run L-BFGS until an evaluation gives `loss` or less; return a row for each evaluation.

    The objective is scaled as ours, so that minus the gradient is a step of one grey level RMS.
    """
    image, rows, scale = problem.new_start(), [], None
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
    began = time.perf_counter()

    def closure():
        nonlocal scale
        value = problem.value_and_gradient(image, variant)
        if scale is None:
            scale = 1 / float(image.grad.square().mean().sqrt())
        image.grad *= scale
        reached = float(value) * problem.unit
        rows.append(
            {"seconds": time.perf_counter() - began, "evaluations": len(rows) + 1, "loss": reached}
        )
        if reached <= loss:
            raise Reached
        return value * scale

    with contextlib.suppress(Reached):
        optimizer.step(closure)
    return {"rows": rows}


def main():
    """Answer requests until there are no more."""
    torch.set_num_threads(os.cpu_count())
    torch.backends.cuda.matmul.allow_tf32 = True  # as TensorFlow does, and as convolutions do
    problem = Problem(sys.argv[1])
    actions = {"describe": describe, "evaluate": evaluate, "minimize": minimize}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(actions[request.pop("do")](problem, **request)), flush=True)


if __name__ == "__main__":
    main()
