"""Commands called inside this process."""

import contextlib
import io
import re


def outcome(command, *arguments):
    """Call a command; returns (exit code, standard output, standard error)."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = command(*arguments)
    return code, out.getvalue(), err.getvalue()


def help_by_flag(text):
    """Return {flag: its help on one line} of what --help prints."""
    parts = re.split(r"^  --(?:\[no\])?(\w+):", text, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(words.split()) for name, words in zip(parts[::2], parts[1::2], strict=True)
    }
