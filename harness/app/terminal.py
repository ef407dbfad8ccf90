"""Standard output and error that cannot end a command: closed, full, read by `head`, or in an encoding without η."""

import codecs
import io
import os
import select
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

PLAIN = "harness.plain"  # name of the error handler `_in_plain_letters`
SIGNS = {
    "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "µ": "u", "μ": "u", "½": "1/2", "²": "^2", "√": "sqrt ",
    "≤": "<=", "≥": ">=",
}  # fmt: skip


@contextmanager
def lenient_streams() -> Iterator[Callable[[], OSError | None]]:
    """Replace sys.stdout and sys.stderr by streams that raise nothing, unless somebody else replaced them before.

    Gives a function that says why not everything was written to stdout; a reader that closed the pipe is no reason.
    """
    if os.name == "posix":
        _open_closed_descriptors()
    codecs.register_error(PLAIN, _in_plain_letters)
    before, outputs = (sys.stdout, sys.stderr), dict[int, _Output]()
    if sys.stdout is sys.__stdout__:
        outputs[1] = _Output(1, "w", closefd=False)
        sys.stdout = _stream(outputs[1], sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_Output(2, "w", closefd=False), sys.__stderr__)

    def unwritten() -> OSError | None:
        sys.stdout.flush()
        failure = outputs[1].failure if outputs else None
        return None if isinstance(failure, BrokenPipeError) else failure

    try:
        yield unwritten
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Output(io.FileIO):
    """A file descriptor. What it refuses is left out, and the first reason kept."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            while (written := super().write(data)) is None:  # another program made the terminal non-blocking
                select.select([], [self], [])
            return written
        except OSError as refused:
            self.failure = self.failure or refused
            return len(memoryview(data))


def _stream(output: _Output, original: TextIO | None) -> TextIO:
    """original: None if the descriptor was closed when Python started."""
    encoding = original.encoding if original else "utf8"
    lines = output.isatty() or output.fileno() == 2
    return io.TextIOWrapper(io.BufferedWriter(output), encoding, PLAIN, line_buffering=lines)


def _open_closed_descriptors() -> None:
    """The next file that is opened would get the number of a closed one, and the database would get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """η=0.1 as eta=0.1 where the encoding has no η."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(sign: str) -> str:
    name = unicodedata.name(sign, "")
    if sign in SIGNS or name.startswith("GREEK"):
        return SIGNS.get(sign) or name.split()[-1].lower()
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return letters or sign.encode("ascii", "backslashreplace").decode()
