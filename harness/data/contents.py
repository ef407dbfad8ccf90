"""The bytes of the user's file: a regular file of bounded size, unpacked; and its text, whatever its encoding."""

import codecs
import io
import stat
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.config import ConfigError
from harness.data.columns import one_line, quoted, word

PATH = "dataset.load.path"
MOST_BYTES = 2**31  # unpacked: the bytes, the table made of them and its scaled copy are in memory at the same time
PACKED = (".gz", ".bz2", ".xz", ".zip")
MAGIC = {  # how files begin that are no text, and what to call such a file
    b"PAR1": ".parquet", b"ARROW1": ".feather", b"FEA1": ".feather", b"\x93NUMPY": ".npy", b"\x1f\x8b": ".gz",
    b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"PK\x03\x04": ".zip, .npz or .xlsx", b"\xd0\xcf\x11\xe0": ".xls",
    b"\x89HDF": ".h5", b"%PDF": ".pdf", b"\x28\xb5\x2f\xfd": ".zst", b"SQLite": ".sqlite",
    b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif",
}  # fmt: skip
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
NO_TABLES = {  # how texts begin that are downloaded in place of a table
    b"<!doctype": "a web page", b"<html": "a web page", b"<?xml": "XML", b"version https://git-lfs": "a Git LFS link",
    b'{"': "JSON", b"[{": "JSON",
}  # fmt: skip
CHUNK = 2**24  # bytes


def suffixes(path: Path) -> tuple[str, str]:
    """The suffix of the table and that of its packing ("" without): data.csv.gz is (.csv, .gz); in small letters."""
    last = path.suffix.lower()
    return (Path(path.stem).suffix.lower(), last) if last in PACKED else (last, "")


def contents(path: Path, member: str | None) -> tuple[str, bytes]:
    """The suffix of the table in the file, and its bytes, unpacked. Raises ConfigError, and OSError as `open` does."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ConfigError(PATH, "a regular file, no pipe, socket or device (save its content to a file)", str(path))
    suffix, packing = suffixes(path)
    with path.open("rb") as stream:
        if packing == ".zip":
            return _unzipped(stream, path, member)
        if member is not None:
            raise ConfigError("dataset.load.member", "null for a file that is no .zip", member)
        return suffix, _bounded(_unpacked(stream, packing), path)


def _unpacked(stream: Any, packing: str) -> Any:
    import bz2
    import gzip
    import lzma

    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers[packing](stream) if packing else stream


def _bounded(stream: IO[bytes], path: Path) -> bytes:
    """All bytes of the stream, read in chunks so that an endless one is refused at the bound."""
    read = io.BytesIO()
    while chunk := stream.read(CHUNK):
        read.write(chunk)
        if read.tell() > MOST_BYTES:
            allowed = (
                f"at most {MOST_BYTES / 2**30:g} GiB of unpacked data, because the table and its copies are kept in "
                "memory (keep fewer rows or columns in the file)"
            )
            raise ConfigError(PATH, allowed, f"more in {str(path)!r}")
    return read.getvalue()


def _unzipped(stream: Any, path: Path, member: str | None) -> tuple[str, bytes]:
    """The one table in the archive, or the one that `member` names."""
    import zipfile

    with zipfile.ZipFile(stream) as archive:
        names = [name for name in archive.namelist() if not (name.endswith("/") or _hidden(name))]
        wanted = names if member is None else [name for name in names if name == member]
        if len(wanted) != 1:
            key = PATH if member is None else "dataset.load.member"
            way_out = f"; {word('dataset.load.member', names[0])} reads that one" if names else ""
            allowed = f"one file in the .zip{way_out}" if member is None else f"a file in the .zip: {quoted(names)}"
            raise ConfigError(
                key, allowed, f"{len(names)} files: {quoted(names) or 'none'}" if member is None else member
            )
        if archive.getinfo(wanted[0]).flag_bits & 1:
            raise ConfigError(PATH, "a .zip without a password (unpack it first)", f"{wanted[0]!r}, encrypted")
        suffix, packing = suffixes(Path(wanted[0]))
        if packing:
            allowed = "a table in the .zip, not another archive (unpack the outer one first)"
            raise ConfigError(PATH, allowed, wanted[0])
        with archive.open(wanted[0]) as packed:
            return suffix, _bounded(packed, path)


def _hidden(name: str) -> bool:
    """What macOS and file managers add to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def utf8(content: bytes, encoding: str | None, path: Path) -> tuple[bytes, str]:
    """The text as UTF-8 without a byte order mark, and the name of the encoding it came in. Raises ConfigError."""
    for magic, name in MAGIC.items():
        if content.startswith(magic):
            allowed = f"text in {str(path)!r} (a copy of it whose name ends in {name} would be read as such)"
            if not {name} <= {".parquet", ".feather", ".npy", *PACKED}:
                allowed = f"text in {str(path)!r} (open it in its own program and save it as CSV)"
            raise ConfigError(PATH, allowed, f"the first bytes of a {name} file")
    for beginning, what in NO_TABLES.items():
        if content[:100].lstrip().lower().startswith(beginning):
            raise ConfigError(
                PATH, f"a table in {str(path)!r} (download the table itself, or save it as CSV)", f"{what} in its place"
            )
    name = encoding or _encoding(content)
    try:
        if encoding is None and name == "utf-8":
            return content, name
        return content.decode(name).removeprefix("\ufeff").encode(errors="replace"), name
    except LookupError as error:
        raise ConfigError(
            "dataset.load.encoding", "utf-8, utf-16, cp1252, latin-1, or null: found out", name
        ) from error
    except UnicodeError as error:
        if encoding is None:
            raise ConfigError(PATH, f"a whole file in {name}, as it begins like one", one_line(error)) from error
        raise ConfigError("dataset.load.encoding", "the encoding of the file, or null: found out", name) from error


def _encoding(content: bytes) -> str:
    """From the byte order mark; else from zeros at every other byte; else UTF-8 if it is valid, and a Western one."""
    for mark, name in BOMS.items():
        if content.startswith(mark):
            return name
    zeros = [content[start:4096:2].count(0) / max(1, len(content[start:4096:2])) for start in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    if _decodes(content, "utf-8"):
        return "utf-8"
    return "cp1252" if _decodes(content, "cp1252") else "latin-1"


def _decodes(content: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(content), CHUNK):
            decoder.decode(content[start : start + CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
