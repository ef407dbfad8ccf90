"""What is needed to repeat a run: versions, machine, commit and diff.

Environment variables are never recorded, and the diff goes through `redacted`. Whatever describes the code is looked up
once per process, at the first call: a sweep that trains for hours runs the code that was imported when it started.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from harness.store.redaction import redacted
from harness.training import code_digest

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = ("conf", "experiments")  # beside the package: what else of the checkout decides what a run does
PACKAGES = (
    "numpy", "scikit-learn", "hydra-core", "omegaconf", "mlflow", "SQLAlchemy", "scipy", "pandas", "pyarrow",
    "matplotlib", "threadpoolctl",
)  # fmt: skip
LAUNCHERS = (
    "hydra-joblib-launcher", "joblib", "hydra-ray-launcher", "ray", "hydra-submitit-launcher", "submitit",
)  # fmt: skip
LARGEST = 1_000_000  # bytes of a file, or of the changes in one, that are kept
SECONDS = 30.0  # that git may take
CONFIGURATION = ("core.fsmonitor=false", "core.hooksPath=/dev/null")  # git starts nothing of the user's
DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")  # for git apply


def environment() -> dict[str, Any]:
    """Code, versions, machine and BLAS; what a run's bits and timings may depend on besides its configuration.

    cores: those that this process may run on; a quota of CPU time, as containers have, is not looked at.
    """
    from threadpoolctl import threadpool_info

    return {
        "code": code_digest(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "packages": dict(_versions()),
        "blas": [
            {key: lib.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
            for lib in threadpool_info()
            if lib.get("user_api") == "blas"
        ],
    }


@cache
def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@cache
def _versions() -> dict[str, str | None]:
    """Of every package that a run needs, None if it is not installed; of the launchers, those that are."""
    launchers = {name: found for name in LAUNCHERS if (found := _version(name))}
    return {name: _version(name) for name in PACKAGES} | launchers


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the harness's own checkout, if it is one; a repository that it is merely installed in is not."""
    checkout = _checkout(PACKAGE)
    return checkout.commit if checkout else None


def uncommitted() -> str:
    """The changes against the commit, untracked files of the project included, as a patch for `git apply`.

    Empty when the checkout is clean or is none. Untracked files count in the package, conf/ and experiments/, unless
    they are ignored. The patch begins with a line for each file that is not in it - binary, not UTF-8, large - and with
    one more if secrets were taken out of it, as it may then not apply. Write it with newline="": it has the files' own.
    """
    return _uncommitted(PACKAGE)


class Checkout(NamedTuple):
    """Where git keeps what, and the commit that is checked out."""

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
        own_index = _own_index(checkout, Path(folder))
        left_out = _add_untracked(checkout.root, package, own_index)
        diff = _git(checkout.root, *DIFF, checkout.commit, "--", str(package.parent), environ=own_index)
    if diff is None:
        return "# left out: everything, git could not tell what has changed\n"
    return _patch(diff, left_out)


def _own_index(checkout: Checkout, folder: Path) -> dict[str, str]:
    """Variables that give git a copy of the index, and a place for new objects: the checkout's own are only read."""
    if checkout.index_file.exists():
        shutil.copyfile(checkout.index_file, folder / "index")
    (folder / "objects").mkdir()
    return {
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": json.dumps(str(checkout.objects), ensure_ascii=False),
    }


def _add_untracked(root: Path, package: Path, own_index: Mapping[str, str]) -> list[str]:
    """Announce the untracked files to the own index, so that a diff shows them; returns lines about those it cannot."""
    folders = [str(folder) for folder in (package, *(package.parent / name for name in FOLDERS)) if folder.is_dir()]
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *folders, environ=own_index) or b""
    names = sorted(name for name in os.fsdecode(listed).split("\0") if name)
    left_out = {name: reason for name in names if (reason := _reason_to_leave_out(root, name))}
    added = [name for name in names if name not in left_out]
    command = ("--literal-pathspecs", "add", "-N", "--pathspec-from-file=-", "--pathspec-file-nul")
    if added and _git(root, *command, stdin=os.fsencode("\0".join(added)), environ=own_index) is None:
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


def _patch(diff: bytes, left_out: Sequence[str]) -> str:
    """The patch without the files that would break it or its file, preceded by lines that name these."""
    kept, lines = "", list(left_out)
    for section in _sections(diff):
        reason = _reason_to_drop(section)
        header = section.partition(b"\n")[0].removeprefix(b"diff --git ").decode(errors="replace")
        kept, lines = (kept, [*lines, f"{header}: {reason}"]) if reason else (kept + section.decode(), lines)
    clean = redacted(kept)
    notes = [f"# left out: {line}\n" for line in lines]
    if clean != kept:
        notes.append("# secrets were replaced by ***: where they stood in lines of the commit, this does not apply\n")
    return redacted("".join(notes)) + clean


def _sections(diff: bytes) -> list[bytes]:
    """One per file; a line of a file cannot be mistaken for a header, it would follow a blank, + or -."""
    first, *others = diff.split(b"\ndiff --git ")
    ended = [*([first] if first else []), *(b"diff --git " + other for other in others)]
    return [section.removesuffix(b"\n") + b"\n" for section in ended]


def _reason_to_drop(section: bytes) -> str | None:
    if b"\nBinary files " in section:  # a line of a file would follow a blank, + or -
        return "binary"
    if len(section) > LARGEST:
        return f"changes of {len(section)} bytes"
    try:
        section.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return None


def _git(folder: Path, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> bytes | None:
    """What a git command says, to the byte; None when it fails."""
    outer = {name: value for name, value in os.environ.items() if name not in _OF_ONE_REPOSITORY}
    settings = [word for setting in CONFIGURATION for word in ("-c", setting)]
    command = ["git", "-C", str(folder), *settings, *arguments]
    variables = outer | dict(environ or {})
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, env=variables, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


# Set by git for its hooks, for instance: they would lead to another repository than the harness's.
_OF_ONE_REPOSITORY = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF",
}  # fmt: skip
