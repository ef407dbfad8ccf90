"""The commit that a run was trained from, and the changes that were not committed.

Both are looked up once per process, at the first call: a sweep that trains for hours runs the code that was imported
when it started. The diff goes through `redacted`.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from harness.store.redaction import redacted

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = ("conf", "experiments")  # beside the package: what else of the checkout decides what a run does
LARGEST = 1_000_000  # bytes of an untracked file, or of the changes in a file, that are kept
GIT_SECONDS = 30.0  # that one git command may take
CONFIGURATION = ("core.fsmonitor=false", "core.hooksPath=/dev/null")  # git starts none of the user's programs
DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")  # for git apply
ADD = ("--literal-pathspecs", "add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
# Git sets these for its hooks, for instance. They would lead to another repository than the harness's.
OF_ONE_REPOSITORY = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF",
}  # fmt: skip


def commit() -> str | None:
    """The commit of the harness's own checkout; None if the harness is merely installed, even inside a repository."""
    checkout = _checkout(PACKAGE)
    return checkout.commit if checkout else None


def uncommitted_diff() -> str:
    """The changes against the commit, including the project's untracked files, as a patch for `git apply`.

    Empty when the checkout is clean, or when there is none. Untracked files count in the package, conf/ and
    experiments/, unless git ignores them. The patch begins with a line for each file that it leaves out (binary, not
    UTF-8, large). One more line says if secrets were replaced, because the patch may then not apply. Line ends are
    those of the files: write the patch with newline="".
    """
    return _uncommitted(PACKAGE)


class Checkout(NamedTuple):
    """The commit that is checked out, and where git keeps the working tree, its index and its objects."""

    commit: str
    root: Path
    index_file: Path
    objects: Path


@cache
def _checkout(package: Path) -> Checkout | None:
    tracked = _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")
    places = _git(package, "rev-parse", "HEAD", "--show-toplevel", "--git-path", "index", "--git-path", "objects")
    if tracked is None or places is None:
        return None
    commit, root, index, objects = os.fsdecode(places).splitlines()
    return Checkout(commit, Path(root), package / index, package / objects)


@cache
def _uncommitted(package: Path) -> str:
    checkout = _checkout(package)
    if checkout is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        variables = _copied_index(checkout, Path(folder))
        left_out = _add_untracked(checkout.root, package, variables)
        diff = _git(checkout.root, *DIFF, checkout.commit, "--", str(package.parent), variables=variables)
    if diff is None:
        return "# left out: everything, git could not tell what has changed\n"
    return _patch(diff, left_out)


def _copied_index(checkout: Checkout, folder: Path) -> dict[str, str]:
    """Variables that give git a copy of the index and a folder for new objects: the checkout itself is only read."""
    if checkout.index_file.exists():
        shutil.copyfile(checkout.index_file, folder / "index")
    (folder / "objects").mkdir()
    return {
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": json.dumps(str(checkout.objects), ensure_ascii=False),
    }


def _add_untracked(root: Path, package: Path, variables: Mapping[str, str]) -> list[str]:
    """Add the untracked files to the copied index, so that a diff shows them; returns a line for each that cannot be.

    One call for all of them: the number of git processes does not grow with the files.
    """
    folders = [str(folder) for folder in (package, *(package.parent / name for name in FOLDERS)) if folder.is_dir()]
    command = ("ls-files", "--others", "--exclude-standard", "-z", "--", *folders)
    names = sorted(filter(None, os.fsdecode(_git(root, *command, variables=variables) or b"").split("\0")))
    left_out = {name: reason for name in names if (reason := _reason_to_leave_out(root, name))}
    added = [name for name in names if name not in left_out]
    if added and _git(root, *ADD, stdin=os.fsencode("\0".join(added)), variables=variables) is None:
        left_out |= dict.fromkeys(added, "git could not add it, or one of the others")
    return [f"{name!r}: {reason}" for name, reason in left_out.items()]


def _reason_to_leave_out(root: Path, name: str) -> str | None:
    if name.endswith("/"):
        return "a repository of its own"
    try:
        size = (root / name).lstat().st_size
    except OSError:
        return "gone while it was looked at"
    return f"{size} bytes" if size > LARGEST else None


def _patch(diff: bytes, left_out: list[str]) -> str:
    """The patch without the files that git could not apply or that are no text, preceded by a line for each of them."""
    kept, lines = "", list(left_out)
    for section in re.split(rb"^(?=diff --git )", diff, flags=re.MULTILINE):  # file lines begin with a blank, + or -
        header = section.partition(b"\n")[0].removeprefix(b"diff --git ").decode(errors="replace")
        if reason := _reason_to_drop(section):
            lines.append(f"{header}: {reason}")
        else:
            kept += section.decode()
    clean = redacted(kept)
    notes = [f"# left out: {line}\n" for line in lines]
    if clean != kept:
        notes.append("# secrets were replaced by ***: where they stood in lines of the commit, this does not apply\n")
    return redacted("".join(notes)) + clean


def _reason_to_drop(section: bytes) -> str | None:
    if b"\nBinary files " in section:  # no line of a file: that would follow a blank, + or -
        return "binary"
    if len(section) > LARGEST:
        return f"changes of {len(section)} bytes"
    try:
        section.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return None


def _git(folder: Path, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None) -> bytes | None:
    """What a git command writes to stdout; None when it fails."""
    settings = [word for setting in CONFIGURATION for word in ("-c", setting)]
    command = ["git", "-C", str(folder), *settings, *arguments]
    outer = {name: value for name, value in os.environ.items() if name not in OF_ONE_REPOSITORY}
    environ = outer | dict(variables or {})
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, env=environ, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
