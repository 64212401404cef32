"""The words are plain English: help, every message of the package, and the documentation."""

import ast
import re

import pytest
from helpers.commands import outcome
from helpers.programs import ROOT

from gatys_norm.cli import main as cli

DIALECT = (  # ways of saying a thing that no dictionary explains
    *("one a style", "one a layer", "one a size", "one a picture"),
    *("cannot be had", "goes on", "go on from", "to the letter", "beside"),
)
COMMANDS = ("", *cli.COMMANDS, "survey build", "survey serve", "survey table")
SOURCES = sorted((ROOT / "gatys_norm").rglob("*.py"))
BRITISH = r"\b\w*(?:colour|optimis|minimis|normalis|neighbour|favour|artefact|labelled|licence)\w*"
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def dialect_in(text):
    """Return the ways of saying of `DIALECT` that a text has, whatever its line breaks."""
    flat = " ".join(text.split()).casefold()
    return [words for words in DIALECT if re.search(rf"\b{words}\b", flat)]


def literals(source):
    """Return the texts of a source that are no docstrings; an f-string is one, without its values.

    A name of one word, such as that of an attribute, is not a message.
    """
    tree = ast.parse(source)
    skipped = {id(part) for node in ast.walk(tree) for part in _parts_of_other_texts(node)}
    texts = []
    for node in ast.walk(tree):
        if id(node) not in skipped and isinstance(node, ast.Constant | ast.JoinedStr):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts.append("".join(str(getattr(part, "value", "")) for part in map(_plain, parts)))
    return [text for text in texts if " " in text]


def _parts_of_other_texts(node):
    """Yield the constants that are a docstring or a part of an f-string."""
    if isinstance(node, ast.JoinedStr):
        yield from node.values
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
        yield body[0].value


def _plain(part):
    return part if isinstance(part, ast.Constant) else ast.Constant("…")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_plain(command):
    code, out, err = outcome(cli.run, ["gatys-norm", *command.split(), "--helpfull"])
    assert (code, err) == (0, "")
    assert dialect_in(out) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_are_plain(path):
    found = {text: dialect_in(text) for text in literals(path.read_text(encoding="utf-8"))}
    assert {text: words for text, words in found.items() if words} == {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_plain_and_american(path):
    text = path.read_text(encoding="utf-8")
    assert dialect_in(text) == []
    assert re.findall(BRITISH, text, re.IGNORECASE) == []


def test_british_spelling_is_seen():
    text = "Colours of neighbouring, optimised and unlabelled pictures; normalized colors."
    assert re.findall(BRITISH, text, re.IGNORECASE) == [
        *("Colours", "neighbouring", "optimised", "unlabelled"),
    ]


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('raise E(f"{name}: one a style, not {x!r}")', ["…: one a style, not …"]),
        ('"""One a style."""\nx = "two words"', ["two words"]),
        ('def f():\n    """It goes on."""\n    return "a b" "c"', ["a bc"]),
        ('class C:\n    """Beside it."""\n    x = {"beside": "one"}', []),
    ],
)
def test_literals_are_seen_without_docstrings(source, texts):
    assert literals(source) == texts


@pytest.mark.parametrize("words", DIALECT)
def test_dialect_is_seen(words):
    assert words in dialect_in(f"This is {words.replace(' ', chr(10))}.")
