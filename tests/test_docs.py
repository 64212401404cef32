"""The pages of the documentation: links lead somewhere, and what they name is there."""

import ast
import functools
import itertools
import re
import shlex
import urllib.parse

import pytest
from helpers import pages
from helpers.commands import help_by_flag, outcome
from helpers.pages import PAGES, tokens_of
from helpers.programs import ROOT, load_script

from gatys_norm.cli import errors, program
from gatys_norm.cli import main as cli

README = ROOT / "README.md"
FOLDERS = "data|docs|gatys_norm|scripts|tests"

of_every_page = pytest.mark.parametrize("page", PAGES, ids=pages.name_of)


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
    shown = {words[0] for words in commands_of(README) if words}
    assert set(cli.COMMANDS) <= shown


# README.md and the index


def test_the_readme_is_short_enough_to_be_read():
    assert pages.words_outside_blocks(README) <= 900


def test_the_readme_has_the_table_that_reproduce_wrote():
    written = pages.table_of(ROOT / "docs" / "reproduction" / "README.md", "claim")
    assert len(written) > 2
    assert pages.table_of(README, "claim") == written


def test_the_index_leads_to_every_page():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for target in targets_of(index)}
    in_docs = {page for page in PAGES if page.is_relative_to(index.parent)}
    assert in_docs - {index} <= listed


def test_what_is_not_measured_is_said_once():
    texts = [" ".join(page.read_text(encoding="utf-8").split()) for page in PAGES]
    assert sum(len(re.findall(r"measured yet", text)) for text in texts) == 1


# docs/flags.md


@pytest.fixture(scope="module")
def flags_page():
    """The program that writes docs/flags.md."""
    return load_script("write_flags")


def write(flags_page, *arguments):
    """Call the program in the clone; returns its exit code."""
    values = cli.flags.FlagValues()
    words = ["write_flags.py", *arguments]
    return program.call("", flags_page.write_flags, words, flags_page.define_flags, values)


def test_the_page_of_flags_is_up_to_date(flags_page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert write(flags_page, "--check") == 0, capsys.readouterr().err


def test_a_page_of_flags_that_is_not_up_to_date_is_seen_and_written(
    flags_page, monkeypatch, capsys, tmp_path
):
    page, before, after = tmp_path / "flags.md", "a\n<!-- flags -->\n", "\n<!-- end flags -->\nb\n"
    page.write_text(f"{before}old{after}")
    monkeypatch.setattr(flags_page, "PAGE", page)
    monkeypatch.chdir(ROOT)
    assert write(flags_page, "--check") == errors.FAILED
    assert capsys.readouterr().err.count("\n") == 1
    assert page.read_text() == f"{before}old{after}"
    assert write(flags_page) == 0
    assert page.read_text() == f"{before}{flags_page.sections()}{after}"
    assert write(flags_page, "--check") == 0


def test_the_page_has_all_flags_of_all_commands(flags_page):
    surveys = {f"survey {name}" for name in flags_page.survey.COMMANDS}
    assert set(flags_page.COMMANDS) == {"", *cli.COMMANDS, *surveys} - {"survey"}
    of_transfer = flags_of()
    for command in flags_page.COMMANDS:
        listed = {flag.name for flag in flags_page.flags_of(command)}
        shown = {name for name in flags_of(*command.split()) if not name.startswith("--no")}
        with_others = {f"--{name}" for name in (*listed, *flags_page.OF_EVERY_COMMAND)}
        if command in flags_page.ALSO:
            with_others |= of_transfer & shown
        assert with_others == shown, command


# docs/troubleshooting.md


def texts_of_the_package():
    """Return the literal parts of every text in the package."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "gatys_norm").rglob("*.py")]
    nodes = itertools.chain.from_iterable(ast.walk(ast.parse(source)) for source in sources)
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    return {value for value in values if isinstance(value, str)}


def parts_of(message):
    """Return what a message says in every case: … stands for the rest, and -- makes a flag."""
    parts = re.split("…|--", message.removeprefix("warning: "))
    return [part for part in parts if part.strip(" .:;()")]


def test_messages_of_the_page_are_those_of_the_program():
    blocks = pages.fences_of(ROOT / "docs" / "troubleshooting.md", "text")
    messages = [line for block in blocks for line in block.splitlines()]
    assert len(messages) > 8
    texts = texts_of_the_package()
    parts = [part for message in messages for part in parts_of(message)]
    assert [part for part in parts if not any(part in text for text in texts)] == []


# What the tests above are made of


@pytest.mark.parametrize(
    ("target", "is_broken"),
    [
        ("docs/scaling.md#gpus", False),
        ("docs/scaling.md#what-it-costs", False),
        ("#reproducing-the-paper", False),
        ("https://example.org/missing", False),
        ("docs/missing.md", True),
        ("docs/scaling.md#missing", True),
        ("#missing", True),
        ("../outside", True),
    ],
)
def test_broken_links_are_seen(target, is_broken):
    assert broken(README, target) is is_broken


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
