"""Writes an archive of runs, in the form that `harness.runs.archive` describes and reads."""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness import __version__
from harness.config import ConfigError
from harness.runs.archive import CHUNK, FORMAT, MANIFEST, RUNS, VERSION, PackedRun
from harness.runs.archive_checks import Points

STORED = (".png", ".npz")  # compressed already


def write_archive(
    path: Path, scratch: Path, runs: Iterable[tuple[PackedRun, Iterable[Points]]], files: Mapping[str, Path]
) -> None:
    """Write runs with their points. files: SHA-256 -> where the content lies. scratch: a folder on the disk of `path`.

    `files` is read after the last run. Raises OSError, and ConfigError for a file that has changed since.
    """
    with (scratch / RUNS).open("wb") as lines:
        for run, chunks in runs:
            _write_line(lines, {"run": asdict(run)})
            for points in chunks:
                _write_line(lines, {"points": points})
    members = {RUNS: scratch / RUNS} | {f"files/{digest}": found for digest, found in files.items()}
    described = {name: {"bytes": one.stat().st_size, "sha256": _digest(one, name)} for name, one in members.items()}
    about = {"format": FORMAT, "version": VERSION, "harness": __version__, "members": described}
    with zipfile.ZipFile(scratch / "archive", "w", compresslevel=3) as archive:
        archive.writestr(_member(MANIFEST, ".json"), json.dumps(about, indent=0))
        for name, found in members.items():
            _write_member(archive, name, found, str(described[name]["sha256"]))
    (scratch / "archive").replace(path)


def _write_line(file: IO[bytes], content: dict[str, Any]) -> None:
    file.write(json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n")


def _digest(path: Path, name: str) -> str:
    """The name of an artifact has it already."""
    return name.removeprefix("files/") if name.startswith("files/") else file_digest(path)


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _member(name: str, suffix: str) -> zipfile.ZipInfo:
    """Without a date, so that the same runs give the same file."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_STORED if suffix in STORED else zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def _write_member(archive: zipfile.ZipFile, name: str, path: Path, digest: str) -> None:
    found = hashlib.sha256()
    with path.open("rb") as source, archive.open(_member(name, path.suffix), "w") as target:
        while some := source.read(CHUNK):
            found.update(some)
            target.write(some)
    if found.hexdigest() != digest:
        raise ConfigError("pack", "runs whose files do not change meanwhile", str(path))
