"""The project's programs, started as processes or loaded as modules.

Starting Python and importing TensorFlow takes seconds each time. `start` and `run` therefore fork a
program from a server that has TensorFlow loaded and not begun; `start_new` makes a new process, for
what depends on how the process itself begins or on signals that reach it while it loads.
"""

import contextlib
import importlib.util
import io
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
COMMAND = "gatys_norm"  # the main command, in place of a script's path
PRELOADED = ("gatys_norm.transfer", "matplotlib.figure", "helpers.programs")
SECONDS = 600.0  # until a program counts as hanging
CPU_SECONDS: list[float] = []  # of each program that the server forked and that ended


def load_script(name):
    """Return a program in scripts/, or in a folder of it, as a module."""
    specification = importlib.util.spec_from_file_location(
        name.rpartition("/")[2], ROOT / "scripts" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def wait_for(condition, seconds=60.0):
    """Wait until `condition()` is true, and return what it gave; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def run(program, *arguments, **options):
    """Run a program to its end; returns `subprocess.CompletedProcess` with text. See `start`."""
    return start(program, *arguments, **options).finish()


def start(program, *arguments, cwd=ROOT, env=None):
    """Start a program in a fork of the server.

    Args:
      program: path of a script, or `COMMAND`.
      arguments: what follows its name.
      cwd: the folder it runs in.
      env: environment variables to set in addition to those of this process.

    Returns:
      `Program`.
    """
    environment = os.environ | (env or {})  # now, which may be another than the server began with
    return Program(str(program), [str(argument) for argument in arguments], str(cwd), environment)


def start_new(*command, **changes):
    """Start a new process with pipes for its output; the first word is Python's if it is a .py."""
    words = [str(word) for word in command]
    if words[0] == COMMAND:
        words[:1] = [sys.executable, "-m", COMMAND]
    elif words[0].endswith(".py"):
        words[:0] = [sys.executable]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options: dict[str, Any] = {"cwd": ROOT} | pipes | changes
    return subprocess.Popen(words, text=True, **options)


def run_new(*words, **options):
    """Run a new process to its end; returns `subprocess.CompletedProcess`."""
    with start_new(*words, **options) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end_of(process, seconds=60.0):
    """Wait for what `start` or `start_new` gave to end; returns its exit code and what it said.

    Returns:
      (exit code, standard output, standard error).
    """
    if isinstance(process, Program):
        finished = process.finish(seconds)
        return finished.returncode, finished.stdout, finished.stderr
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


class Program:
    """A program that runs, with the part of `subprocess.Popen` that tests need."""

    def __init__(self, program, arguments, cwd, env):
        self.args = [program, *arguments]
        self._folder = tempfile.TemporaryDirectory()
        self._paths = [Path(self._folder.name, name) for name in ("out", "err", "cpu")]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        arguments = (self.args, cwd, env, *map(str, self._paths))
        self._process = context.Process(target=_become, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        """Return the exit code; None while the program runs."""
        return self._process.exitcode

    def send_signal(self, number):
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def output(self):
        """Return (standard output, standard error) so far."""
        return tuple(
            path.read_text(errors="replace") if path.exists() else "" for path in self._paths[:2]
        )

    def finish(self, seconds=SECONDS):
        """Wait for the end; returns `subprocess.CompletedProcess`."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self.args, seconds, *self.output())
        out, err = self.output()
        if self._paths[2].exists():
            CPU_SECONDS.append(float(self._paths[2].read_text()))
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.args, self._process.exitcode, out, err)


def _become(words, cwd, env, out, err, cpu):
    """Be the program: its folder, its environment, its arguments, its files for what it says."""
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", write_through=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(words)
    try:
        if words[0] == COMMAND:
            runpy.run_module(COMMAND, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    finally:  # such a process ends without what `atexit` was told
        Path(cpu).write_text(str(sum(os.times()[:4])))
