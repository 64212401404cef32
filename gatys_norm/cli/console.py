"""The standard streams and signals of a command. No TensorFlow."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO, cast

ENDING_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


_received: list[int] = []  # by `ending_in_order`


class Interrupted(BaseException):
    """A signal asked the command to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class ForgivingStream:
    """A text stream that raises nothing when its reader is gone; its text is then lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; return the number of characters."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # a ValueError if the stream is closed
            self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush what is buffered."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._lose()

    def _lose(self) -> None:
        """Send all further text to the null device, so that Python's last flush succeeds."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def forgiving_streams() -> Iterator[None]:
    """Ignore errors when writing to the standard streams: a closed pipe, a full disk."""
    _fill_closed_descriptors()
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115  # open until Python ends
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # some terminals have no λ and →
            forgiving = ForgivingStream(stream)
            stack.callback(setattr, sys, name, stream)
            stack.callback(forgiving.flush)
            setattr(sys, name, cast(TextIO, forgiving))
        yield


def _fill_closed_descriptors() -> None:
    """Open descriptors 0, 1 and 2 if they are closed, so that no other file gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Silence native code, which writes its first lines directly to the descriptor."""
    with open(os.devnull, "wb") as nowhere, contextlib.ExitStack() as stack:
        sys.stderr.flush()
        original = os.dup(2)
        stack.callback(os.close, original)
        os.dup2(nowhere.fileno(), 2)
        stack.callback(os.dup2, original, 2)
        yield


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Raise `Interrupted` for a signal that asks to end, unless it is ignored, as by nohup."""
    _received.clear()

    def end(number: int, _frame: types.FrameType | None) -> None:
        _received.append(number)
        raise Interrupted(number)

    with _handling(end):
        yield


def raise_if_interrupted() -> None:
    """Raise `Interrupted` again, if other code has caught it."""
    if _received:
        raise Interrupted(_received[-1])


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    After a signal this skips the shutdown of Python, in which half-loaded modules would fail.
    """
    if code > 128:
        os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Store signals that ask to end, so that a run can first save its state.

    Yields:
      The list of signals received so far. A second signal of the same kind ends the program.
    """
    received: list[int] = []

    def note(number: int, _frame: types.FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    with _handling(note):
        yield received


@contextlib.contextmanager
def _handling(handler: Any) -> Iterator[None]:
    """Handle the signals that are not ignored, if this is the main thread; others cannot."""
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
