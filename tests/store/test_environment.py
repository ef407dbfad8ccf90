"""Versions, machine and BLAS: what a run's bits and timings depend on."""

import os
import subprocess
import sys

import numpy as np
import pytest

from harness.store.provenance import LAUNCHERS, PACKAGES, arithmetic, environment
from harness.training import pinned_blas
from harness.training.identity import code_digest


def test_environment_names_what_bits_and_timings_depend_on():
    with pinned_blas(1):  # of libraries, too, that another test has loaded since the tests were pinned
        about = environment()
    assert about["code"] == code_digest()
    assert 1 <= about["cores"] <= os.cpu_count()
    assert {"numpy", "omegaconf", "pyarrow", "SQLAlchemy", "mlflow"} <= set(about["packages"])
    assert all(about["packages"][name] for name in PACKAGES)
    assert all(about["packages"].get(name, "installed") for name in LAUNCHERS)
    assert about["blas"][0]["num_threads"] == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot be pinned to a core")
def test_cores_are_those_that_the_process_may_use():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from harness.store import environment"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(environment()['cores'])"], capture_output=True, text=True
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize("engine", ["vectorized", "compiled"])
def test_the_arithmetic_names_libraries_and_processor(engine):
    own = arithmetic(engine)
    assert own["numpy"] == np.__version__
    assert own["blas"]
    assert own["cpu"] == environment()["cpu"]
    assert all(isinstance(value, str) for value in own.values())
    assert ("numba" in own and "llvmlite" in own) == (engine == "compiled")
    assert environment(engine)["arithmetic"] == own


@pytest.mark.slow
def test_the_arithmetic_is_the_same_whatever_else_is_loaded():
    """SciPy may bring a BLAS of its own, which no training calls."""
    code = "import json, numpy; from harness.store import arithmetic; print(json.dumps(arithmetic('vectorized')))"
    alone, both = (
        subprocess.run([sys.executable, "-c", first + code], capture_output=True, text=True, check=True).stdout
        for first in ("", "import scipy.linalg, sklearn; ")
    )
    assert alone == both


def test_instructions_that_numpy_may_not_use_are_another_arithmetic():
    code = "from harness.store import arithmetic; print(arithmetic('vectorized')['instructions'])"
    features = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if not features:
        pytest.skip("NumPy finds nothing that could be switched off")
    environ = os.environ | {"NPY_DISABLE_CPU_FEATURES": features[-1]}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == arithmetic("vectorized")["instructions"].split()[:-1]
