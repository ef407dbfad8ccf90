"""What is needed to repeat a run and to recognise it: versions, machine, commit and diff, and the signature of a cell.

The signature hashes what decides the numbers: the resolved configuration without what does not change them, the source
of everything between the configuration and the weights, and the data. Environment variables are never recorded.
"""

import hashlib
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.config import Config

PACKAGE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "scikit-learn", "hydra-core", "mlflow", "scipy", "pandas", "matplotlib", "threadpoolctl")
WITHOUT_EFFECT = ("diagnostics", "study")  # keys of the configuration that no number depends on
NUMERIC_MODULES = (
    "activations", "batches", "cell", "compiled", "config", "data", "evaluation", "files", "losses", "mlp",
    "optimizers", "per_example", "reduction", "splits", "train",
)  # fmt: skip


def signature(config: Config, data_digest: str) -> str:
    """16 hexadecimal digits that two cells share exactly when their numbers must agree."""
    decisive = {key: value for key, value in asdict(config).items() if key not in WITHOUT_EFFECT}
    text = json.dumps([decisive, code_digest(), data_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest() -> str:
    """Digest of the modules that compute numbers."""
    source = b"".join((PACKAGE / f"{name}.py").read_bytes() for name in NUMERIC_MODULES)
    return hashlib.sha256(source).hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Versions, machine and BLAS; what a run's bits and timings may depend on besides its configuration."""
    from threadpoolctl import threadpool_info

    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "packages": {name: _version(name) for name in PACKAGES},
        "blas": [
            {key: lib.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
            for lib in threadpool_info()
            if lib.get("user_api") == "blas"
        ],
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the harness's own checkout, if it is one."""
    return _git("rev-parse", "HEAD")


def uncommitted() -> str:
    """The diff of tracked files against the commit; empty when the checkout is clean or is none."""
    return _git("diff", "HEAD") or ""


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
