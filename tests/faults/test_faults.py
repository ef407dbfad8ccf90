"""Every fault once, at a random moment. `python -m tests.faults` tries them more often."""

import time

import pytest

from .catalogue import FAULTS, Laboratory, NotHere
from .servers import why_not

SEED = time.time_ns() % 1_000_000


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory):
    laboratory = Laboratory(tmp_path_factory.mktemp("faults"))
    yield laboratory
    laboratory.close()


def _grouped(name):
    return pytest.param(name, marks=pytest.mark.xdist_group(FAULTS[name].group))


@pytest.mark.slow
@pytest.mark.parametrize("name", [_grouped(name) for name in FAULTS])
def test_nothing_is_lost(laboratory, name):
    if FAULTS[name].group == "server" and (missing := why_not()):
        pytest.skip(missing)
    try:
        tally = laboratory.attempt(FAULTS[name], SEED)
    except NotHere as reason:
        pytest.skip(str(reason))
    assert tally.good, f"seed {SEED}: {tally}"
