"""The software and the machine that a run's bits and timings depend on. Environment variables are never recorded."""

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.training import code_digest

PACKAGES = (
    "numpy", "scikit-learn", "hydra-core", "omegaconf", "mlflow", "SQLAlchemy", "scipy", "pandas", "pyarrow",
    "matplotlib", "threadpoolctl",
)  # fmt: skip
LAUNCHERS = (
    "hydra-joblib-launcher", "joblib", "hydra-ray-launcher", "ray", "hydra-submitit-launcher", "submitit",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Digest of the code, versions, machine and BLAS of this process, ready for JSON.

    cores: those that this process may run on. A quota of CPU time, as containers have, is not looked at.
    """
    from threadpoolctl import threadpool_info

    return {
        "code": code_digest(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
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


@cache
def _versions() -> dict[str, str | None]:
    """Every package that a run needs (None if it is not installed) and the launchers that are installed."""
    launchers = {name: found for name in LAUNCHERS if (found := _version(name))}
    return {name: _version(name) for name in PACKAGES} | launchers


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
