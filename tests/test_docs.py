"""The pages of the documentation: links lead somewhere, and what they name is there."""

import functools
import itertools
import re
import shlex
import urllib.parse

import markdown_it
import pytest
from helpers.commands import help_by_flag, outcome
from helpers.programs import ROOT

from gatys_norm.cli import main as cli

PAGES = [*ROOT.glob("*.md"), ROOT / "data" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = "data|docs|gatys_norm|scripts|tests"

of_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@functools.cache
def tokens_of(page):
    """Return the tokens of a page, those inside of paragraphs and tables too."""
    parser = markdown_it.MarkdownIt("commonmark").enable("table")
    blocks = parser.parse(page.read_text(encoding="utf-8"))
    return [token for block in blocks for token in (block, *(block.children or ()))]


def targets_of(page):
    """Return the addresses that a page links to or shows."""
    attributes = {"link_open": "href", "image": "src"}
    tokens = tokens_of(page)
    return [token.attrs[attributes[token.type]] for token in tokens if token.type in attributes]


def anchors_of(page):
    """Return the anchors that GitHub gives to the headings of a page."""
    tokens = tokens_of(page)
    titles = [
        "".join(part.content for part in title.children)
        for heading, title in itertools.pairwise(tokens)
        if heading.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page, target):
    """Tell whether a relative address leads nowhere; one of another site is not looked up."""
    address = urllib.parse.urlsplit(target)
    if address.scheme:
        return False
    path = (page.parent / urllib.parse.unquote(address.path)).resolve() if address.path else page
    if not path.is_relative_to(ROOT) or not path.exists():
        return True
    return bool(address.fragment) and address.fragment not in anchors_of(path)


def commands_of(page):
    """Yield the words of every `gatys-norm` command that a page shows, without the program's."""
    for token in tokens_of(page):
        if token.type in ("code_block", "code_inline", "fence"):
            for line in token.content.replace("\\\n", "").splitlines():
                words = shlex.split(line, comments=True) if "gatys-norm " in line else []
                if "gatys-norm" in words:
                    yield words[words.index("gatys-norm") + 1 :]


@functools.cache
def flags_of(*command):
    """Return the flags of a command, in the forms that a page may show."""
    code, text, _ = outcome(cli.run, ["gatys-norm", *command, "--helpfull"])
    assert code == 0, f"there is no command gatys-norm {' '.join(command)}"
    names = help_by_flag(text)
    return {f"--{name}" for name in names} | {f"--no{name}" for name in names}


def unknown_flags(words):
    """Return the flags of a command that it does not have."""
    command = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    return sorted(given - flags_of(*command))


def is_defined(name):
    """Tell whether a dotted name is a module of the package, or is defined in one."""
    *module, last = name.split(".")
    path = ROOT.joinpath(*module, last)
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    source = path.parent.with_suffix(".py")
    defined = rf"^(?:def|class) {last}\b"
    return source.is_file() and bool(re.search(defined, source.read_text(), re.MULTILINE))


@of_every_page
def test_links_lead_somewhere(page):
    assert [target for target in targets_of(page) if broken(page, target)] == []


@of_every_page
def test_commands_have_the_flags_shown(page):
    commands = list(commands_of(page))
    assert [words for words in commands if unknown_flags(words)] == []


@of_every_page
def test_files_and_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w/.-]*\.[a-z]+\b", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    names = re.findall(r"\bgatys_norm(?:\.[A-Za-z]\w*)+", text)
    assert [name for name in names if not is_defined(name)] == []


def test_readme_shows_every_command():
    shown = {words[0] for words in commands_of(ROOT / "README.md") if words}
    assert set(cli.COMMANDS) <= shown


@pytest.mark.parametrize(
    ("target", "is_broken"),
    [
        ("docs/scaling.md#gpus", False),
        ("docs/scaling.md#what-it-costs", False),
        ("#the-papers-figures-and-claims", False),
        ("https://example.org/missing", False),
        ("docs/missing.md", True),
        ("docs/scaling.md#missing", True),
        ("#missing", True),
        ("../outside", True),
    ],
)
def test_broken_links_are_seen(target, is_broken):
    assert broken(ROOT / "README.md", target) is is_broken


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("--size=512 --sizes=1", ["--sizes"]),
        ("timelapse --noloop --size=512", ["--size"]),
        ("survey build --run_dir=x --show_seconds=5", []),
    ],
)
def test_unknown_flags_are_seen(line, flags):
    assert unknown_flags(line.split()) == flags


@pytest.mark.parametrize(
    ("name", "defined"),
    [
        ("gatys_norm.losses", True),
        ("gatys_norm.losses.coefficients", True),
        ("gatys_norm.network.vgg.Extractor", True),
        ("gatys_norm.network.vgg.Missing", False),
        ("gatys_norm.missing", False),
    ],
)
def test_undefined_names_are_seen(name, defined):
    assert is_defined(name) is defined
