"""Which module may import which, where the program speaks, and what importing it costs."""

import ast
import graphlib
import re
import resource
import subprocess
import sys

import pytest
from helpers.programs import ROOT

PACKAGE = ROOT / "gatys_norm"
PAGE = ROOT / "docs" / "architecture.md"
SPEAKERS = "cli"


def module_name(path):
    """Return the dotted name of a source below the package; the package itself is `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = {name.partition(".")[0] for name in MODULES}


def table_of_imports(page):
    """Return {room: rooms that it may import} of the page's table, in its order."""
    allowed = {}
    rows = re.findall(r"^\| (`.*?) \|.*\|(.*)\|$", page, re.MULTILINE)
    for rooms, imports in rows:
        above = set(allowed) if "everything above" in imports else set()
        names = re.findall(r"`(\w+)`", rooms)
        allowed |= {
            name: above | set(re.findall(r"`(\w+)`", imports)) | set(names) for name in names
        }
    return allowed


ALLOWED = table_of_imports(PAGE.read_text(encoding="utf-8"))
SECONDS = 1.0
COMMANDS = [
    (),
    *((name,) for name in ("compare", "explore", "film", "reproduce", "survey", "timelapse")),
]


def imported_modules(source):
    """Return the dotted names that a source imports anywhere, for type checkers alone too.

    `from a import b` counts as `a.b`, since `b` may be a module; relative names begin with
    `gatys_norm`.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["gatys_norm" if node.level else "", node.module]))
            names |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            names.add(_constant_start(node.args[0]))
    return names


def _called(call):
    return getattr(call.func, "attr", None) or getattr(call.func, "id", None)


def _constant_start(argument):
    """Return the name that is imported, or the package of it where only a run can tell the rest."""
    if isinstance(argument, ast.JoinedStr):
        argument = argument.values[0]
    assert isinstance(argument, ast.Constant), "an import whose name only a run can tell"
    return argument.value.rstrip(".")


def modules_of_ours(source):
    """Return the modules of gatys_norm that a source imports."""
    found = set()
    for name in imported_modules(source):
        package, *rest = name.split(".")
        if package == "gatys_norm":
            longest = (".".join(rest[:length]) for length in range(len(rest), 0, -1))
            found.add(next((module for module in longest if module in MODULES), "__init__"))
    return found


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


def test_no_optimizer_is_named_outside_its_room_and_the_settings():
    """So that another one needs no change anywhere else."""
    for name, path in MODULES.items():
        if name != "config" and not name.startswith("optimizers."):
            assert not re.search(r"adam\b", path.read_text(encoding="utf-8"), re.IGNORECASE), name


def test_every_room_has_a_row_and_every_row_a_room():
    assert set(ALLOWED) == ROOMS


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_only_what_its_row_allows(name):
    imported = modules_of_ours(MODULES[name].read_text(encoding="utf-8"))
    rooms = {module.partition(".")[0] for module in imported}
    assert rooms <= ALLOWED[name.partition(".")[0]]


def test_only_the_reproduction_sees_report_and_survey():
    for name in MODULES:
        if name.startswith("experiments.") and name != "experiments.reproduction":
            imported = modules_of_ours(MODULES[name].read_text(encoding="utf-8"))
            assert not {module.partition(".")[0] for module in imported} & {"report", "survey"}


def test_no_module_imports_itself_by_way_of_others():
    """Imports for types alone count."""
    graph = {
        name: modules_of_ours(path.read_text(encoding="utf-8")) - {name, "__init__"}
        for name, path in MODULES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # a circle is a CycleError that names it


def test_a_circle_would_have_been_seen():
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_no_module_imports_the_scripts_or_the_tests(name):
    folders = {"scripts", "tests"}
    programs = {path.stem for folder in folders for path in (ROOT / folder).glob("*.py")}
    packages = {module.split(".")[0] for module in imported_modules(MODULES[name].read_text())}
    assert not packages & (folders | programs)


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if name.partition(".")[0] not in (SPEAKERS, "__main__")],
)
def test_flags_printing_and_exiting_are_left_to_the_command_line(name):
    assert not outside_words(MODULES[name].read_text())


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import gatys_norm.network.vgg", {"network.vgg"}),
        ("import gatys_norm.network.vgg as v, numpy", {"network.vgg"}),
        ("from gatys_norm.network import vgg, memory", {"network.vgg", "network.memory"}),
        ("from gatys_norm.losses.functional import energy", {"losses.functional"}),
        ("from gatys_norm import losses", {"losses"}),
        ("from gatys_norm import TransferConfig", {"__init__"}),
        ("import gatys_norm", {"__init__"}),
        ("from . import config", {"config"}),
        ("from .record import x", {"record"}),
        ("def f():\n    from gatys_norm.report import page", {"report.page"}),
        ("import importlib\nimportlib.import_module('gatys_norm.transfer')", {"transfer"}),
        ("importlib.import_module(f'gatys_norm.optimizers.{name}')", {"optimizers"}),
        ("__import__('gatys_norm.transfer')", {"transfer"}),
        ("if TYPE_CHECKING:\n    from gatys_norm.network import vgg", {"network.vgg"}),
        ("import numpy\nfrom os import path", set()),
    ],
)
def test_imports_are_seen_in_every_form(source, modules):
    assert modules_of_ours(source) == modules


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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_tensorflow(command):
    output, loaded = modules_loaded("-m", "gatys_norm", *command, "--help")
    assert "gatys_norm.cli.main" in loaded
    assert "gatys-norm" in output
    assert_without_tensorflow(loaded)


def test_no_other_module_loads_tensorflow():
    """One process for all; a module that loads it is among the last, and found one by one."""
    without_tensorflow = {"network.imagenet_8bit", "network.memory", "network.torch_pickle"}
    without_tensorflow |= {"network.weights", "network.__init__", "losses.coefficients"}
    with_tensorflow = {name for name in MODULES if name.startswith("network.")}
    with_tensorflow |= {
        "experiments.findings",
        "experiments.grid",
        "experiments.measurements",
        "experiments.measures.hed",
        "experiments.measures.independent",
        "experiments.measures.structure",
        "experiments.cluster",
        "experiments.ray",
        "experiments.ray_films",
        "experiments.reproduction",
        "film.run",
        "film.transfer",
    }
    with_tensorflow |= {"transfer", "stages", "strength_search", "run_log"}
    with_tensorflow |= {name for name in MODULES if name.startswith(("losses.", "optimizers."))}
    with_tensorflow -= without_tensorflow
    modules = [
        f"gatys_norm.{name}" for name in MODULES if name not in {*with_tensorflow, "__main__"}
    ]
    _, loaded = modules_loaded("-c", "import " + ", ".join(modules))
    assert {name.removesuffix(".__init__") for name in modules} <= loaded
    assert_without_tensorflow(loaded)


def test_tensorflow_would_have_been_seen(tmp_path):
    (tmp_path / "tensorflow.py").write_text("")  # the real one takes seconds to load
    code = "import sys; sys.path.insert(0, sys.argv[1]); import tensorflow"
    _, loaded = modules_loaded("-c", code, str(tmp_path))
    with pytest.raises(AssertionError):
        assert_without_tensorflow(loaded)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import gatys_norm"),
        *(("-m", "gatys_norm", *command, "--help") for command in COMMANDS),
    ],
    ids=str,
)
def test_it_takes_under_a_cpu_second(arguments):
    def cpu_seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_python(*arguments).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert 0 < min(cpu_seconds() for _ in range(3)) < SECONDS
