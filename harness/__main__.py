"""`python -m harness`, and the command `harness`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line; a signal during the imports, when no run is open yet, ends the process without a word."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from harness.app import main as run

    return run()


def _end(number: int, frame: object) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
