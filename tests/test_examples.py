"""The examples in docstrings: they are Python, and every name in them exists. They are not run.

An example is an indented block of a docstring. It may use the names of its module, and those that
it imports or assigns. Of values whose class is not known, such as arrays, nothing is checked.
"""

import ast
import builtins
import contextlib
import importlib
import inspect
import re
import sys
import textwrap
import types
from typing import NamedTuple

import pytest
from helpers.programs import ROOT

import gatys_norm.transfer  # noqa: F401  # TensorFlow is loaded before the tests are timed

NOT_CODE = {  # a tree of files, CSV, formulas
    *("gatys_norm.survey.model", "gatys_norm.survey.pairs.load", "gatys_norm.losses.strength"),
}
ENTRY_POINTS = (
    *("config.TransferConfig", "transfer.stylize", "transfer.Transfer", "report.plots.loss_curves"),
    *("experiments.grid.run_grid", "network.vgg.load_extractor", "optimizers.base.minimize"),
)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*\n|\n(?= {4}))+")
UNKNOWN = object()


class Instance(NamedTuple):
    """A value of which only the class is known."""

    kind: type


def blocks_in(docstring):
    """Return the indented blocks that follow an empty line, without their indentation."""
    text = f"\n\n{inspect.cleandoc(docstring)}\n"
    return [textwrap.dedent(block) for block in INDENTED.findall(text)]


def documented_blocks():
    """Return {qualified name: (name of its module, blocks in its docstring)} of the package."""
    blocks = {}
    for path in sorted((ROOT / "gatys_norm").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                name = f"{module}.{getattr(node, 'name', '')}".removesuffix(".")
                in_docstring = blocks_in(ast.get_docstring(node) or "")
                if in_docstring and name not in NOT_CODE:
                    blocks[name] = module, in_docstring
    return blocks


EXAMPLES = documented_blocks()


class Checker(ast.NodeVisitor):
    """Collects what is wrong with an example.

    Args:
      namespace: {name: value} of the module that the example is about.
    """

    def __init__(self, namespace):
        self.values = vars(builtins) | namespace
        self.faults = []

    def visit_Import(self, node):
        for alias in node.names:
            module = importlib.import_module(alias.name)
            self.values[alias.asname or alias.name] = module

    def visit_ImportFrom(self, node):
        module = importlib.import_module(node.module)
        for alias in node.names:
            with contextlib.suppress(ModuleNotFoundError):  # a submodule is not yet an attribute
                importlib.import_module(f"{node.module}.{alias.name}")
            value = attribute(module, alias.name)
            if value is None:
                self.faults.append(f"{node.module} has no {alias.name}")
            self.values[alias.asname or alias.name] = value

    def visit_FunctionDef(self, node):
        self.values[node.name] = UNKNOWN
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self.values[argument.arg] = UNKNOWN
        self.generic_visit(node)

    def visit_ClassDef(self, node):
        self.values[node.name] = UNKNOWN
        self.generic_visit(node)

    def visit_Assign(self, node):
        self.visit(node.value)
        self.assign(node.targets, self.value_of(node.value))

    def visit_For(self, node):
        self.visit(node.iter)
        self.assign([node.target], UNKNOWN)
        for statement in node.body:
            self.visit(statement)

    def visit_With(self, node):
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.assign([item.optional_vars], self.value_of(item.context_expr))
        for statement in node.body:
            self.visit(statement)

    def visit_ListComp(self, node):
        self.visit_comprehension_of(node, node.elt)

    def visit_GeneratorExp(self, node):
        self.visit_comprehension_of(node, node.elt)

    def visit_DictComp(self, node):
        self.visit_comprehension_of(node, node.key, node.value)

    def visit_comprehension_of(self, node, *elements):
        for generator in node.generators:
            self.visit(generator.iter)
            self.assign([generator.target], UNKNOWN)
        for element in elements:
            self.visit(element)

    def visit_Name(self, node):
        if node.id not in self.values:
            self.faults.append(f"{node.id} is not defined")

    def visit_Attribute(self, node):
        self.visit(node.value)
        owner = self.value_of(node.value)
        if owner is not UNKNOWN and attribute(owner, node.attr) is None:
            self.faults.append(f"{ast.unparse(node.value)} has no {node.attr}")

    def visit_Call(self, node):
        self.generic_visit(node)
        function = self.value_of(node.func)
        names = [keyword.arg for keyword in node.keywords]
        if not callable(function) or None in names or function in vars(builtins).values():
            return
        try:
            inspect.signature(function).bind(*node.args, **dict.fromkeys(names))
        except TypeError as error:
            self.faults.append(f"{ast.unparse(node.func)}: {error}")

    def assign(self, targets, value):
        """Give the names in targets a value; only a single name gets one that is known."""
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    self.values[node.id] = value if node is target else UNKNOWN

    def value_of(self, node):
        """Return the value of an expression as far as it is known without running it."""
        if isinstance(node, ast.Name):
            return self.values.get(node.id, UNKNOWN)
        if isinstance(node, ast.Attribute):
            owner = self.value_of(node.value)
            return UNKNOWN if owner is UNKNOWN else attribute(owner, node.attr) or UNKNOWN
        if isinstance(node, ast.Call):
            function = self.value_of(node.func)
            return UNKNOWN if function is UNKNOWN else returned_by(function)
        return UNKNOWN


def attribute(owner, name):
    """Return an attribute of a module, a class or an `Instance`; None if there is none."""
    if isinstance(owner, Instance):
        is_declared = name in getattr(owner.kind, "__annotations__", {})
        if is_declared or f"self.{name}" in inspect.getsource(owner.kind):
            return UNKNOWN
        value = getattr(owner.kind, name, None)
        if inspect.isfunction(value):
            return types.MethodType(value, owner)
        return UNKNOWN if isinstance(value, property) else value
    return getattr(owner, name, None)


def returned_by(function):
    """Return the `Instance` that a class or an annotated function of the package gives."""
    if not getattr(function, "__module__", "").startswith("gatys_norm"):
        return UNKNOWN
    kind = function
    if not isinstance(function, type):
        kind = function.__annotations__.get("return")
        kind = getattr(sys.modules[function.__module__], str(kind), kind)
    return Instance(kind) if isinstance(kind, type) else UNKNOWN


def faults_of(example, namespace):
    checker = Checker(namespace)
    checker.visit(ast.parse(example))
    return checker.faults


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_uses_what_there_is(name):
    module, examples = EXAMPLES[name]
    for example in examples:
        assert faults_of(example, vars(importlib.import_module(module))) == []


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_entry_point_has_an_example(name):
    assert f"gatys_norm.{name}" in EXAMPLES


@pytest.mark.parametrize(
    ("example", "fault"),
    [
        ("paint(1)", "paint is not defined"),
        ("from gatys_norm.images import io\nio.paint", "io has no paint"),
        ("from gatys_norm.images import paint", "gatys_norm.images has no paint"),
        ("from gatys_norm import TransferConfig\nTransferConfig(contents='a')", "TransferConfig: "),
        (
            "from gatys_norm import TransferConfig, stylize\n"
            "result = stylize(TransferConfig())\nresult.picture",
            "result has no picture",
        ),
        (
            "from gatys_norm.transfer import Transfer, TransferConfig\n"
            "transfer = Transfer(TransferConfig())\ntransfer.continue_from()",
            "transfer has no continue_from",
        ),
        ("[x for x in range(3)]\nfor y in (1, 2):\n    print(x, y, z)", "z is not defined"),
    ],
)
def test_faults_are_seen(example, fault):
    (only,) = faults_of(example, {})
    assert only.startswith(fault)


def test_blocks_are_told_from_indented_arguments():
    docstring = """Do it:

        do(1)

        do(2)

    Args:
      x: a long
        explanation.

        do(3)
    """
    assert blocks_in(docstring) == ["do(1)\n\ndo(2)\n", "do(3)\n"]
