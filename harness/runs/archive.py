"""A file that carries runs from one store to another: its form, and its reader, which trusts nothing in it.

A zip of three kinds of members, in this order; docs/travel.md describes every field:

    manifest.json     form, version, and size and SHA-256 of every other member
    runs.jsonl        a line for each run, followed by lines with its points; cells first, then sweeps
    files/<SHA-256>   the artifacts, each content once
"""

import hashlib
import json
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.config import ConfigError
from harness.runs.archive_checks import Points, Refused, checked_points, checked_run, no_constant, shown

FORMAT, VERSION = "harness runs", 1
MANIFEST, RUNS = "manifest.json", "runs.jsonl"
MAX_DIRECTORY, MAX_MANIFEST, MAX_LINE = 32 << 20, 32 << 20, 4 << 20  # bytes: zip's table of members, manifest, a line
MAX_RUN_LINES = 256 << 20  # bytes of the lines of all runs without their points, which are kept in memory
MAX_RATIO, ALWAYS_ALLOWED = 200, 64 << 20  # unpacked bytes per packed byte; unpacked bytes that need no ratio
BLOCK, POINT = 4096, 256  # bytes that a file or a folder, and a point in a database, take at least
RESERVE = 0.05  # share of a disk's free bytes that stays free
CHUNK = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True)
class PackedRun:
    """A run that has ended. id: in the store that packed it; origin: in the store in which it was trained.

    start, end: milliseconds since 1970. files: path -> SHA-256. datasets: fields of MLflow's Dataset.
    """

    id: str
    origin: str
    name: str
    status: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    datasets: list[dict[str, str | None]]
    files: dict[str, str]

    @property
    def kind(self) -> str:
        """cell or sweep."""
        return self.tags["kind"]


class Archive:
    """An archive that has been read to its end and checked: digests, bounds, every field of every run.

    Raises ConfigError for anything that `archive_writing` would not write. Nothing is written, nothing in it is run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as opened, self._refusing():
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # a device may have no end, a pipe no beginning
                raise Refused("a plain file", "a folder, a device or a pipe")
            self._bytes = found.st_size
            self._file = opened.enter_context(path.open("rb"))
            _check_directory(self._file)
            self._zip = zipfile.ZipFile(self._file)
            self._members = self._manifest()
            self._check_size(sum(size for size, _ in self._members.values()))
            self._n_points: dict[str, int] = {}  # of the run with this id
            self.runs = self._checked_runs()
            self._check_runs()
            self._check_size(self.unpacked_bytes(self.runs))  # one content may be that of many files
            for name in self._members:
                self._read(name, lambda some: None)
            opened.pop_all()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *unused: object) -> None:
        self._zip.close()
        self._file.close()

    def stream(self) -> Iterator[tuple[PackedRun, Iterator[Points]]]:
        """The runs in the order of the file, each with its points in chunks; the points are to be taken at once."""
        with self._zip.open(RUNS) as lines:
            for run, group in groupby(_numbered(lines), key=lambda row: row[0]):
                yield run[1], (points for _, points in group if points is not None)

    def extract(self, run: PackedRun, folder: Path) -> None:
        """Write the run's artifacts into a folder; existing files are replaced."""
        for name, digest in run.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                self._read(f"files/{digest}", file.write)

    def unpacked_bytes(self, runs: Collection[PackedRun]) -> int:
        """What their artifacts take, each run with its own copy, with their folders, and their points."""
        blocks = {name.removeprefix("files/"): -(-size // BLOCK) + 1 for name, (size, _) in self._members.items()}
        places = ({*chain.from_iterable(PurePosixPath(name).parents for name in run.files)} for run in runs)
        n_blocks = sum(blocks[digest] for run in runs for digest in run.files.values()) + sum(map(len, places))
        return BLOCK * n_blocks + POINT * sum(self._n_points[run.id] for run in runs)

    def check_room(self, runs: Collection[PackedRun], folder: Path) -> None:
        """Refuse what would fill the disk. Raises ConfigError."""
        needed, free = self.unpacked_bytes(runs), int(shutil.disk_usage(folder).free * (1 - RESERVE))
        if needed > free:
            raise self.refusal("less than the free bytes of the disk", f"{needed:,} of {free:,} bytes")

    def refusal(self, allowed: str, value: str) -> ConfigError:
        return ConfigError(shown(self.path), f"an archive as `pack` writes it: {allowed}", shown(value))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """What the parsers of zip and JSON raise, in one line."""
        try:
            yield
        except ConfigError:
            raise
        except Refused as problem:
            raise self.refusal(problem.allowed, problem.found) from problem
        except RecursionError as deep:
            raise self.refusal("JSON of few levels", "deeply nested JSON") from deep
        except OSError as error:
            raise ConfigError(shown(self.path), "a file that can be read", error.strerror or str(error)) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise self.refusal("a whole zip file", str(error)) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise self.refusal("fields as in docs/travel.md", repr(error)) from error

    def _manifest(self) -> dict[str, tuple[int, str]]:
        """Name -> size and SHA-256 of each other member, which are exactly the members of the zip."""
        infos = self._zip.infolist()
        if not infos or infos[0].filename != MANIFEST:
            raise self.refusal(f"{MANIFEST} first", infos[0].filename if infos else "no members")
        if other := {info.compress_type for info in infos} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise self.refusal("members that are stored or deflated", f"compression method {min(other)}")
        if infos[0].file_size > MAX_MANIFEST:
            raise self.refusal(f"{MANIFEST} of at most {MAX_MANIFEST:,} bytes", f"{infos[0].file_size:,}")
        with self._zip.open(infos[0]) as file:
            about = json.loads(file.read(MAX_MANIFEST + 1), parse_constant=no_constant)
        if (about["format"], about["version"]) != (FORMAT, VERSION) or type(about["version"]) is not int:
            raise self.refusal(f'"{FORMAT}", version {VERSION}', f"{about['format']}, version {about['version']}")
        members = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in about["members"].items()}
        self._check_members(infos[1:], members)
        return members

    def _check_members(self, infos: list[zipfile.ZipInfo], members: dict[str, tuple[int, str]]) -> None:
        names = [info.filename for info in infos]
        if names != list(members) or RUNS not in members:
            raise self.refusal(f"the members that {MANIFEST} lists", f"{len(names)} others")
        for info in infos:
            size, digest = members[info.filename]
            is_file = info.external_attr >> 16 & 0o170000 in (0, 0o100000)
            if not is_file or info.flag_bits & 1 or info.file_size != size:
                raise self.refusal("plain files of the size that is listed", info.filename)
            if info.filename != RUNS and not (
                info.filename == f"files/{digest}" and re.fullmatch(r"[0-9a-f]{64}", digest)
            ):
                raise self.refusal("artifacts named by their SHA-256", info.filename)

    def _check_size(self, n_bytes: int) -> None:
        most = max(ALWAYS_ALLOWED, MAX_RATIO * self._bytes)
        if n_bytes > most:
            raise self.refusal(f"at most {MAX_RATIO} times its size when unpacked", f"{n_bytes:,} of {most:,} bytes")

    def _checked_runs(self) -> list[PackedRun]:
        """Every line is read, so that every point is checked too."""
        runs = []
        for run, chunks in self.stream():
            self._n_points[run.id] = sum(map(len, chunks))
            runs.append(run)
        return runs

    def _check_runs(self) -> None:
        ids = [run.id for run in self.runs]
        if len({*ids}) < len(ids) or len({run.origin for run in self.runs}) < len(ids):
            raise self.refusal("each run once", "the same run twice")
        listed = {f"files/{digest}" for run in self.runs for digest in run.files.values()}
        if listed != self._members.keys() - {RUNS}:
            raise self.refusal(
                "the files that its runs list", f"{len(listed ^ (self._members.keys() - {RUNS}))} others"
            )

    def _read(self, name: str, take: Callable[[bytes], Any]) -> None:
        """Give the content to `take`, piece by piece; refuse another size or SHA-256 than the manifest's."""
        size, digest = self._members[name]
        found, n_bytes = hashlib.sha256(), 0
        with self._refusing(), self._zip.open(name) as file:
            while some := file.read(CHUNK):
                found.update(some)
                n_bytes += len(some)
                if n_bytes > size:
                    break
                take(some)
        if (n_bytes, found.hexdigest()) != (size, digest):
            raise self.refusal(f"content with the SHA-256 that {MANIFEST} lists", f"{name} differs")


def _check_directory(file: IO[bytes]) -> None:
    """Zip's table of its members is read as a whole, so its size is bounded before (APPNOTE 4.3.14 to 4.3.16)."""
    n_bytes = file.seek(0, 2)
    file.seek(max(0, n_bytes - 98))
    tail = file.read(98)
    end, locator = tail[-22:], tail[-42:-22]
    if len(end) < 22 or end[:4] != b"PK\5\6":
        raise Refused("a whole zip file without a comment", "another end")
    (size,) = struct.unpack("<L", end[12:16])
    if locator[:4] == b"PK\6\7" and len(tail) == 98:
        size = max(size if size < 0xFFFFFFFF else 0, *struct.unpack("<Q", tail[40:48]))
    if size > MAX_DIRECTORY:
        raise Refused(f"a table of members of at most {MAX_DIRECTORY:,} bytes", f"{size:,}")


def _numbered(lines: IO[bytes]) -> Iterator[tuple[tuple[int, PackedRun], Points | None]]:
    """Each line with the run that it belongs to; the run's own line has no points."""
    current: tuple[int, PackedRun] | None = None
    kept, last = 0, None
    while line := lines.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise Refused(f"lines of at most {MAX_LINE:,} bytes", "a longer one")
        row = json.loads(line, parse_constant=no_constant)
        if "run" in row:
            kept += len(line)
            if kept > MAX_RUN_LINES:
                raise Refused(f"at most {MAX_RUN_LINES:,} bytes about runs", "more")
            current = (current[0] + 1 if current else 0, PackedRun(**checked_run(row["run"])))
            last = None
            yield current, None
        elif current is None:
            raise Refused("a run before its points", "points")
        else:
            points = checked_points(row["points"], last)
            last = points[-1]
            yield current, points
