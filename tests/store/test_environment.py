"""Versions, machine and BLAS: what a run's bits and timings depend on."""

import os
import subprocess
import sys

import pytest

from harness.store.provenance import LAUNCHERS, PACKAGES, environment
from harness.training.identity import code_digest


def test_environment_names_what_bits_and_timings_depend_on():
    about = environment()
    assert about["code"] == code_digest()
    assert 1 <= about["cores"] <= os.cpu_count()
    assert {"numpy", "omegaconf", "pyarrow", "SQLAlchemy", "mlflow"} <= set(about["packages"])
    assert all(about["packages"][name] for name in PACKAGES)
    assert all(about["packages"].get(name, "installed") for name in LAUNCHERS)
    assert about["blas"][0]["num_threads"] == 1  # tests pin it


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot be pinned to a core")
def test_cores_are_those_that_the_process_may_use():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from harness.store import environment"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(environment()['cores'])"], capture_output=True, text=True
    )
    assert done.stdout == "1\n"
