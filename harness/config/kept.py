"""Files that take long to make and are the same until a version changes: made once, and kept with Python's own.

Anybody may delete them. Where they cannot be kept, they are made each time.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

FOLDER = Path(__file__).parents[1] / "__pycache__"


def kept_place(name: str, *versions: str) -> Path:
    """The place of a kept file with this name, another one for other versions of what it is made from."""
    digest = hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]
    return FOLDER / f"{Path(name).stem}-{digest}{Path(name).suffix}"


def keep(place: Path, write: Callable[[Path], object]) -> None:
    """Have the file that `write` makes appear there whole, in place of those of other versions. Raises OSError."""
    place.parent.mkdir(exist_ok=True)
    new = place.with_name(f"{uuid4().hex}.new")
    try:
        write(new)
        with new.open("r+b") as file:
            os.fsync(file.fileno())
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)
    stem = place.stem.rpartition("-")[0]
    for other in place.parent.glob(f"{stem}-{'[0-9a-f]' * 16}{place.suffix}"):
        if other != place:
            other.unlink(missing_ok=True)


def kept_text(name: str, make: Callable[[], str], *versions: str) -> str:
    """What `make` returns, or has returned before. Its digest shows whether the file is whole."""
    place = kept_place(name, *versions)
    with suppress(OSError, UnicodeError):
        digest, _, text = place.read_bytes().decode().partition("\n")
        if digest == _digest(text):
            return text
    text = make()
    with suppress(OSError):
        keep(place, lambda path: path.write_bytes(f"{_digest(text)}\n{text}".encode()))
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
