"""`python -m gatys_norm`, which pip installs as `gatys-norm`."""

import signal
import sys
from typing import NoReturn


def main(*command: str) -> NoReturn:
    """Run the program and end the process. Before and after it, Ctrl-C ends the process at once.

    Args:
      command: words before those of the command line, for example "compare".
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gatys_norm.cli import console
    from gatys_norm.cli import main as program

    console.leave(program.run([sys.argv[0], *command, *sys.argv[1:]]))


if __name__ == "__main__":
    main()
