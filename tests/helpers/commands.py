"""Commands called inside this process."""

import contextlib
import io


def outcome(command, *arguments):
    """Call a command; returns (exit code, standard output, standard error)."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = command(*arguments)
    return code, out.getvalue(), err.getvalue()
