"""What the pages of the documentation hold: their parts, and the commands that they show."""

import functools
import itertools
import shlex

import markdown_it

from helpers.programs import ROOT

PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "bash")


def name_of(page):
    """Return the path of a page from the top of the project, which names a test."""
    return str(page.relative_to(ROOT))


@functools.cache
def tokens_of(page):
    """Return the tokens of a page, those inside of paragraphs and tables too."""
    parser = markdown_it.MarkdownIt("commonmark").enable("table")
    blocks = parser.parse(page.read_text(encoding="utf-8"))
    return [token for block in blocks for token in (block, *(block.children or ()))]


def fences_of(page, *languages):
    """Return the contents of the fenced blocks in these languages."""
    tokens = tokens_of(page)
    return [token.content for token in tokens if token.type == "fence" and token.info in languages]


def commands_in(text):
    """Return the words of each command of a shell block, without comments."""
    lines = text.replace("\\\n", "").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def words_outside_blocks(page):
    """Return how many words a page has outside of code blocks and tables."""
    tokens, in_table, count = tokens_of(page), False, 0
    for token in tokens:
        if token.type in ("table_open", "table_close"):
            in_table = token.type == "table_open"
        elif token.type == "inline" and not in_table:
            count += len(token.content.split())
    return count


def table_of(page, title):
    """Return the lines of the table whose first column has this title."""
    lines = page.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {title} |"))
    return list(itertools.takewhile(lambda line: line.startswith("|"), lines[begin:]))
