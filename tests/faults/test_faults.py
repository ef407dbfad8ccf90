"""Other faults in each run, at a random moment each. `python -m tests.faults` tries all of them, and more often."""

import os
from random import Random

import pytest

from .catalogue import FAULTS, Laboratory, NotHere
from .servers import why_not

# The same in all workers of a run: they have to collect the same tests.
SEED = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.urandom(8).hex()
MOST = 34  # of the kinds: all of them, which `python -m tests.faults` tries, take a quarter of an hour


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory):
    laboratory = Laboratory(tmp_path_factory.mktemp("faults"))
    yield laboratory
    laboratory.close()


def _grouped(name):
    return pytest.param(name, marks=pytest.mark.xdist_group(FAULTS[name].group))


@pytest.mark.slow
@pytest.mark.parametrize("name", [_grouped(name) for name in Random(SEED).sample(sorted(FAULTS), MOST)])
def test_nothing_is_lost(laboratory, name):
    if FAULTS[name].group == "server" and (missing := why_not()):
        pytest.skip(missing)
    try:
        tally = laboratory.attempt(FAULTS[name], SEED)
    except NotHere as reason:
        pytest.skip(str(reason))
    assert tally.good, f"seed {SEED}: {tally}"
