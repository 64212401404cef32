"""The words are plain American English: help, messages, docstrings, comments, documentation."""

import ast
import io
import re
import tokenize

import pytest
from helpers.commands import outcome
from helpers.programs import ROOT

from gatys_norm.cli import main as cli

DIALECT = (  # ways of saying a thing that no dictionary explains
    *("one a style", "one a layer", "one a size", "one a picture", "one a row"),
    *("cannot be had", "can be had", "is had", "goes on", "go on from", "to the letter", "beside"),
    *("save that", "save those", "whatever else", "in the place of", "for want of"),
)
COMMANDS = ("", *cli.COMMANDS, "survey build", "survey serve", "survey table")
SOURCES = sorted((ROOT / "gatys_norm").rglob("*.py"))
PROGRAMS = [
    path
    for folder in ("scripts", "data/draw", "tests/helpers")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
BRITISH = r"\b\w*(?:colour|optimis|minimis|normalis|neighbour|favour|artefact|labelled|licence)\w*"
PAGES = [*ROOT.glob("*.md"), ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def dialect_in(text):
    """Return the ways of saying of `DIALECT` that a text has, whatever its line breaks."""
    flat = " ".join(text.split()).casefold()
    return [words for words in DIALECT if re.search(rf"\b{words}\b", flat)]


def british_in(text):
    """Return the words of a text that are spelled as in Britain."""
    return re.findall(BRITISH, text, re.IGNORECASE)


def unclear(texts):
    """Return {text: its words that are dialect or British}, without texts that have none."""
    words_of = {text: dialect_in(text) + british_in(text) for text in texts}
    return {text: words for text, words in words_of.items() if words}


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


def explanations(source):
    """Return the comments and the docstrings of a source."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    docstrings = [_docstring(node) for node in ast.walk(ast.parse(source))]
    return comments + [node.value for node in docstrings if node is not None]


def _parts_of_other_texts(node):
    """Yield the constants that are a docstring or a part of an f-string."""
    if isinstance(node, ast.JoinedStr):
        yield from node.values
    docstring = _docstring(node)
    if docstring is not None:
        yield docstring


def _docstring(node):
    """Return the constant that is the docstring of a node; None if it has none."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value
    return None


def _plain(part):
    return part if isinstance(part, ast.Constant) else ast.Constant("…")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_plain(command):
    code, out, err = outcome(cli.run, ["gatys-norm", *command.split(), "--helpfull"])
    assert (code, err) == (0, "")
    assert unclear([out]) == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_are_plain(path):
    assert unclear(literals(path.read_text(encoding="utf-8"))) == {}


@pytest.mark.parametrize("path", SOURCES + PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_and_comments_are_plain_and_american(path):
    assert unclear(explanations(path.read_text(encoding="utf-8"))) == {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_plain_and_american(path):
    assert unclear([path.read_text(encoding="utf-8")]) == {}


def test_british_spelling_is_seen():
    text = "Colours of neighbouring, optimised and unlabelled pictures; normalized colors."
    assert british_in(text) == ["Colours", "neighbouring", "optimised", "unlabelled"]
    assert unclear([text, "plain", "It goes on."]) == {
        text: british_in(text),
        "It goes on.": ["goes on"],
    }


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


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('"""One a style."""\nx = "beside it"  # goes on', ["# goes on", "One a style."]),
        ('def f():\n    """It goes on."""\n    return "a # b"', ["It goes on."]),
        ('class C:\n    """Beside it."""\n    x = 1', ["Beside it."]),
        ("x\nf(1)\n", []),
    ],
)
def test_docstrings_and_comments_are_seen(source, texts):
    assert explanations(source) == texts


@pytest.mark.parametrize("words", DIALECT)
def test_dialect_is_seen(words):
    assert words in dialect_in(f"This is {words.replace(' ', chr(10))}.")
