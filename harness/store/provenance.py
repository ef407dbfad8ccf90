"""What a run's bits and timings depend on: the commit and what was not committed, the software, the machine.

Commit and changes are looked up once per process: a sweep that trains for hours runs the code that it has imported.
Environment variables are never recorded.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.store.redaction import redacted
from harness.training import code_digest, thread_pools

ARITHMETIC = "arithmetic"  # tag of a cell, and in environment.json
PACKAGES = (
    "numpy", "scikit-learn", "hydra-core", "omegaconf", "mlflow", "SQLAlchemy", "scipy", "pandas", "pyarrow",
    "matplotlib", "threadpoolctl",
)  # fmt: skip
LAUNCHERS = ("joblib", "ray", "submitit")
PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = ("conf", "experiments")  # beside the package: what else of the checkout decides what a run does
LARGEST_BYTES = 1_000_000  # bytes of an untracked file, or of the changes in a file, that are kept
GIT_SECONDS = 30.0  # that one git command may take
CONFIGURATION = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")  # git starts no program of the user's
DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")  # for git apply
ADD = ("--literal-pathspecs", "add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
# Git sets these for its hooks, for instance. They would lead to another repository than the harness's.
OF_ONE_REPOSITORY = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF",
}  # fmt: skip


def commit() -> str | None:
    """The commit of the harness's own checkout; None if the harness is merely installed, even inside a repository."""
    return checkout[0] if (checkout := _checkout(PACKAGE)) else None


def uncommitted_diff() -> str:
    """The changes against the commit as a patch for `git apply`; empty when the checkout is clean, or there is none.

    Untracked files count in the package, conf/ and experiments/, unless git ignores them. The patch begins with a line
    for each file that it leaves out (binary, not UTF-8, large), and with one more if secrets were replaced. Line ends
    are those of the files: write the patch with newline="".
    """
    return _uncommitted(PACKAGE)


@cache
def _checkout(package: Path) -> list[str]:
    """Commit, root of the working tree, index file, folder of objects; nothing if git does not track the package."""
    tracked = _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")
    places = _git(package, "rev-parse", "HEAD", "--show-toplevel", "--git-path", "index", "--git-path", "objects")
    return os.fsdecode(places).splitlines() if places and tracked else []


@cache
def _uncommitted(package: Path) -> str:
    if not (checkout := _checkout(package)):
        return ""
    commit, root, index, objects = checkout[0], *(package / place for place in checkout[1:])
    diff, left_out = None, list[str]()
    with suppress(OSError), tempfile.TemporaryDirectory() as folder:  # its disk may be full
        variables = _copied_index(index, objects, Path(folder))
        left_out = _add_untracked(root, package, variables)
        diff = _git(root, *DIFF, commit, "--", str(package.parent), variables=variables)
    everything = "# left out: everything, git could not tell what has changed, or had no room for temporary files\n"
    return everything if diff is None else _patch(diff, left_out)


def _copied_index(index: Path, objects: Path, folder: Path) -> dict[str, str]:
    """Variables that give git a copy of the index and a folder for new objects: the checkout itself is only read."""
    if index.exists():
        shutil.copyfile(index, folder / "index")
    (folder / "objects").mkdir()
    return {
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": json.dumps(str(objects), ensure_ascii=False),
    }


def _add_untracked(root: Path, package: Path, variables: Mapping[str, str]) -> list[str]:
    """Add the untracked files to the copied index, so that the diff shows them; returns a line for each left out."""
    folders = [str(folder) for folder in (package, *(package.parent / name for name in FOLDERS)) if folder.is_dir()]
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *folders, variables=variables)
    names = sorted(filter(None, os.fsdecode(listed or b"").split("\0")))
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
    return f"{size} bytes" if size > LARGEST_BYTES else None


def _patch(diff: bytes, left_out: list[str]) -> str:
    """The patch, preceded by a line for each file that it leaves out: git could not apply it, or it is no text."""
    kept, notes = "", [f"# left out: {line}\n" for line in left_out]
    for section in re.split(rb"^(?=diff --git )", diff, flags=re.MULTILINE):  # file lines begin with a blank, + or -
        header = section.partition(b"\n")[0].removeprefix(b"diff --git ").decode(errors="replace")
        if reason := _reason_to_drop(section):
            notes.append(f"# left out: {header}: {reason}\n")
        else:
            kept += section.decode()
    if (clean := redacted(kept)) != kept:
        notes.append("# secrets were replaced by ***: where they stood in lines of the commit, this does not apply\n")
    return redacted("".join(notes)) + clean


def _reason_to_drop(section: bytes) -> str | None:
    if b"\nBinary files " in section:  # no line of a file: that would follow a blank, + or -
        return "binary"
    if len(section) > LARGEST_BYTES:
        return f"changes of {len(section)} bytes"
    try:
        section.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return None


def _git(folder: Path, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None) -> bytes | None:
    """What a git command writes to stdout; None when it fails."""
    command = ["git", "-C", str(folder), *CONFIGURATION, *arguments]
    env = {name: value for name, value in os.environ.items() if name not in OF_ONE_REPOSITORY} | dict(variables or {})
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=GIT_SECONDS, check=True)
        return done.stdout
    return None


def arithmetic(engine: str) -> dict[str, str]:
    """What the last bit of a sum or of an exponential depends on, beside code and data: libraries and processor.

    It is no part of a cell's signature: where two of them differ, bits may differ, and seldom anything else does.
    """
    import numpy as np

    built, libraries = np.show_config(mode="dicts"), thread_pools().info()
    blas = [lib for lib in libraries if lib.get("user_api") == "blas"]
    own = [lib for lib in blas if "numpy" in Path(lib["filepath"]).parent.name] or blas  # scipy may bring another
    names = [" ".join(str(lib.get(key)) for key in ("internal_api", "version", "architecture")) for lib in own]
    compilers = ("numba", "llvmlite") if engine == "compiled" else ()
    return {
        "numpy": np.__version__,
        "blas": " + ".join(names) or str(built["Build Dependencies"]["blas"]["name"]),
        "instructions": " ".join([platform.machine(), *built["SIMD Extensions"].get("found", [])]),
        "cpu": _cpu_model(),
        **{name: str(_version(name)) for name in compilers},
    }


def environment(engine: str = "vectorized") -> dict[str, Any]:
    """Digest of the code, versions, machine and BLAS of this process, ready for JSON.

    cores: those that this process may run on. A quota of CPU time, as containers have, is not looked at.
    """
    blas = [library for library in thread_pools().info() if library.get("user_api") == "blas"]
    return {
        "code": code_digest(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": dict(_versions()),
        "arithmetic": arithmetic(engine),
        "blas": [{k: lib.get(k) for k in ("internal_api", "version", "architecture", "num_threads")} for lib in blas],
    }


@cache
def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:(.*)", info.read_text() if info.exists() else "", re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


@cache
def _versions() -> dict[str, str | None]:
    """Every package that a run needs (None if it is not installed) and the launchers that are installed."""
    found = {name: _version(name) for name in (*PACKAGES, *LAUNCHERS)}
    return {name: number for name, number in found.items() if number or name in PACKAGES}


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None
