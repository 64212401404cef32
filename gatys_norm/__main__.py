"""`python -m gatys_norm`, and what pip installs as `gatys-norm`: the main command."""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the main command and end the process. Before and after it Ctrl-C ends at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gatys_norm.cli import console
    from gatys_norm.cli import main as cli

    console.leave(cli.run())


if __name__ == "__main__":
    main()
