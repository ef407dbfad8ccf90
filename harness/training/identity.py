"""What identifies a cell: one hash of everything that decides its numbers.

Two cells share a signature exactly when their runs must hold the same numbers: the same resolved configuration (but for
keys that change none of them), the same source of every room between the configuration and the tables, the same data.
"""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

from harness.config import Config

PACKAGE = Path(__file__).resolve().parents[1]
ROOMS = ("network", "compiled", "config", "data", "training")  # whose code computes numbers
NO_NUMBERS = ("config/folders.py", "config/labels.py", "training/estimate.py")  # but for these: they compute none
WITHOUT_EFFECT = ("study", "size", "rerun", "dry_run")  # keys that change nothing in what a run holds


def signature(config: Config, data_digest: str) -> str:
    """16 hexadecimal digits. data_digest: of the dataset that the configuration names."""
    decisive = {key: value for key, value in asdict(config).items() if key not in WITHOUT_EFFECT}
    text = json.dumps([decisive, code_digest(), data_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest() -> str:
    """Digest of the files that compute numbers, as they were at the first call in this process.

    A sweep that trains for hours runs the code that was imported when it started, whatever the files are by now.
    """
    return _code_digest(PACKAGE)


@cache
def _code_digest(package: Path) -> str:
    digest = hashlib.sha256()
    for file in numeric_files(package):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def numeric_files(package: Path) -> list[Path]:
    """The source files of ROOMS, in one order everywhere."""
    left_out = {package / name for name in NO_NUMBERS}
    return [file for room in ROOMS for file in sorted((package / room).glob("*.py")) if file not in left_out]
