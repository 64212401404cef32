"""Which module may import which, where the program speaks, and what importing it costs."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gatys_norm"
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}
ANYTHING = frozenset(MODULES)
# The rooms of docs and design: module → modules of ours that it may import.
MAY_IMPORT = {
    "__init__": {"config", "surroundings"},
    "__main__": ANYTHING,
    "answers": {"files"},
    "cells": {"config", "runs", "scenes", "transfer"},
    "adam": {"lbfgs"},
    "checkpoint": {"adam", "config", "lbfgs", "losses", "resuming"},
    "claims": set(),
    "colors": set(),
    "cli": ANYTHING,
    "config": set(),
    "console": set(),
    "experiments": {"config"},
    "files": set(),
    "images": {"files"},
    "keras_vgg19": {"surroundings"},
    "lbfgs": set(),
    "legacy_pickle": set(),
    "losses": set(),
    "machine": set(),
    "measuring": {"cli", "files", "machine", "runs", "weights"},
    "memory": set(),
    "metrics": {"losses"},
    "objective": {"config", "losses", "parametrization", "scenes", "summary", "vgg"},
    "pages": set(),
    "parametrization": {"colors"},
    "plots": {"sheets"},
    "preview": {"images", "pages", "web_server"},
    "probes": {
        *("config", "images", "losses", "objective", "scenes", "summary", "vgg", "weights"),
    },
    "ray_executor": {
        *("cells", "files", "images", "runs", "scenes", "surroundings", "transfer", "weights"),
    },
    "report": {"files", "pages", "runs"},
    "reproduction": {
        *("cells", "claims", "experiments", "files", "images", "plots", "probes", "report"),
        *("sheets", "survey"),
    },
    "resuming": {"config", "scenes"},
    "runs": {"config", "files", "images"},
    "scenes": {"colors", "images"},
    "sheets": set(),
    "summary": {"losses", "vgg"},
    "surroundings": {"transfer"},
    "survey": {"answers", "files", "images", "pages"},
    "survey_server": {"answers", "survey", "web_server"},
    "survey_table": {"answers", "pages"},
    "transfer": {
        *("adam", "checkpoint", "colors", "config", "images", "keras_vgg19", "lbfgs", "losses"),
        *("machine", "memory", "metrics", "objective", "resuming", "scenes", "summary"),
        *("surroundings", "vgg", "weights"),
    },
    "vgg": {"keras_vgg19", "machine", "weights"},
    "web_server": set(),
    "weights": {"files", "keras_vgg19", "legacy_pickle"},
}
SPEAKERS = {"cli", "console", "__main__"}
WITH_TENSORFLOW = {
    "adam",
    "cells",
    "checkpoint",
    "keras_vgg19",
    "lbfgs",
    "losses",
    "metrics",
    "objective",
    "parametrization",
    "probes",
    "ray_executor",
    "reproduction",
    "summary",
    "transfer",
    "vgg",
}
SECONDS = 1.0


def imported_modules(source):
    """Return the dotted names that a source imports anywhere.

    `from a import b` counts as `a.b`, since `b` may be a module; relative names begin with
    `gatys_norm`. What is imported for type checkers alone does not count.
    """
    names = set()
    for node in _nodes_that_run(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["gatys_norm" if node.level else "", node.module]))
            names |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            argument = node.args[0]
            assert isinstance(argument, ast.Constant), "an import whose name only a run can tell"
            names.add(argument.value)
    return names


def _nodes_that_run(node):
    yield node
    if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
        children = node.orelse
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _nodes_that_run(child)


def _called(call):
    return getattr(call.func, "attr", None) or getattr(call.func, "id", None)


def imported_rooms(source):
    """Return the modules of gatys_norm that a source imports; the package itself is `__init__`."""
    rooms = set()
    for name in imported_modules(source):
        package, room, *_ = [*name.split("."), ""]
        if package == "gatys_norm":
            rooms.add(room if room in ANYTHING | set(MAY_IMPORT) else "__init__")
    return rooms


def outside_words(source):
    """Return what a source does that is left to the command line: flags, printing, exiting."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in {
            *("FLAGS", "SystemExit", "print", "input", "exit", "quit"),
        }:
            found.add(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {f"{node.value.id}.{node.attr}"} & {
                *("sys.exit", "sys.stdout", "sys.stderr", "sys.argv", "os._exit", "tf.print"),
            }
    return found | {
        name
        for name in imported_modules(source)
        if name.split(".")[0] in ("absl", "argparse") or name in ("sys.exit", "sys.argv")
    }


def test_every_module_has_a_place_in_the_table():
    assert set(MODULES) <= set(MAY_IMPORT)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_imports_only_what_it_may(name):
    rooms = imported_rooms(MODULES[name].read_text())
    assert rooms <= MAY_IMPORT[name], f"{name} imports {sorted(rooms - MAY_IMPORT[name])}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_imports_the_scripts_or_the_tests(name):
    folders = {"scripts", "tests"}
    programs = {path.stem for folder in folders for path in (ROOT / folder).glob("*.py")}
    packages = {module.split(".")[0] for module in imported_modules(MODULES[name].read_text())}
    assert not packages & (folders | programs)


@pytest.mark.parametrize("name", sorted(set(MODULES) - SPEAKERS))
def test_flags_printing_and_exiting_are_left_to_the_command_line(name):
    assert not outside_words(MODULES[name].read_text())


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import gatys_norm.vgg", {"vgg"}),
        ("import gatys_norm.vgg as v, numpy", {"vgg"}),
        ("from gatys_norm import vgg, losses", {"vgg", "losses"}),
        ("from gatys_norm.losses import energy", {"losses"}),
        ("from gatys_norm import TransferConfig", {"__init__"}),
        ("import gatys_norm", {"__init__"}),
        ("from . import vgg", {"vgg"}),
        ("from .runs import x", {"runs"}),
        ("def f():\n    from gatys_norm import report", {"report"}),
        ("import importlib\nimportlib.import_module('gatys_norm.transfer')", {"transfer"}),
        ("__import__('gatys_norm.transfer')", {"transfer"}),
        ("if TYPE_CHECKING:\n    import numpy\n    from gatys_norm import vgg", set()),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from gatys_norm import vgg", {"vgg"}),
        ("if not TYPE_CHECKING:\n    from gatys_norm import vgg", {"vgg"}),
        ("import numpy\nfrom os import path", set()),
    ],
)
def test_imports_are_seen_in_every_form(source, rooms):
    assert imported_rooms(source) == rooms


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("print(1)", {"print"}),
        ("f = print", {"print"}),
        ("raise SystemExit(1)", {"SystemExit"}),
        ("import sys\nsys.exit(1)", {"sys.exit"}),
        ("from sys import exit as leave", {"sys.exit"}),
        ("import sys\nsys.stderr.write('')", {"sys.stderr"}),
        ("from absl import flags", {"absl.flags"}),
        ("import argparse", {"argparse"}),
        ("x = FLAGS.size", {"FLAGS"}),
        ("import sys\nsys.executable\n'print(1)'", set()),
    ],
)
def test_outside_words_are_seen(source, words):
    assert outside_words(source) == words


def run_python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def modules_loaded(*arguments):
    """Run Python and return (its standard output, the names of all modules it loaded)."""
    finished = run_python("-X", "importtime", *arguments)
    assert finished.returncode == 0, finished.stderr[-2000:]
    lines = [line for line in finished.stderr.splitlines() if line.startswith("import time:")]
    return finished.stdout, {line.split("|")[2].strip() for line in lines}


def assert_without_tensorflow(loaded):
    heavy = {name for name in loaded if name.split(".")[0] in ("tensorflow", "keras", "h5py")}
    assert not heavy


def test_import_loads_no_tensorflow():
    _, loaded = modules_loaded("-c", "import gatys_norm")
    assert "gatys_norm.config" in loaded
    assert_without_tensorflow(loaded)


def test_help_loads_no_tensorflow():
    output, loaded = modules_loaded("-m", "gatys_norm", "--help")
    assert "gatys_norm.cli" in loaded
    assert "--lambda_os" in output
    assert_without_tensorflow(loaded)


def test_no_other_module_loads_tensorflow():
    """One process for all; a module that loads it is among the last, and found one by one."""
    names = sorted(set(MODULES) - WITH_TENSORFLOW - {"__init__", "__main__"})
    modules = [f"gatys_norm.{name}" for name in names]
    _, loaded = modules_loaded("-c", "import " + ", ".join(modules))
    assert set(modules) <= loaded
    assert_without_tensorflow(loaded)


def test_tensorflow_would_have_been_seen(tmp_path):
    (tmp_path / "tensorflow.py").write_text("")  # the real one takes seconds to load
    code = "import sys; sys.path.insert(0, sys.argv[1]); import tensorflow"
    _, loaded = modules_loaded("-c", code, str(tmp_path))
    with pytest.raises(AssertionError):
        assert_without_tensorflow(loaded)


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import gatys_norm"), ("-m", "gatys_norm", "--help")],
    ids=["import", "help"],
)
def test_it_takes_under_a_second(arguments):
    def seconds():
        start = time.perf_counter()
        assert run_python(*arguments).returncode == 0
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < SECONDS
