"""A process waits for a store that is gone once, not once for each question."""

from contextlib import suppress

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from harness.store import connection, outage
from harness.store.connection import UnreachableError, query
from harness.store.outage import OUTAGE, OUTAGE_SECONDS
from tests.store.stand_in import AWAY, store


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `sleep` moves."""
    now = [1000.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

        @staticmethod
        def sleep(seconds):
            now[0] += seconds

    for module in (connection, outage):
        monkeypatch.setattr(module, "time", Clock)
    for name in ("monotonic", "sleep"):
        monkeypatch.setattr(f"harness.store.writer.time.{name}", getattr(Clock, name))
    return now


def gone():
    raise ConnectionError("nobody listens")


def seconds_of(clock, question):
    begun = clock[0]
    with pytest.raises(UnreachableError):
        query(question)
    return clock[0] - begun


def test_the_questions_of_one_outage_wait_together(clock):
    assert seconds_of(clock, gone) == pytest.approx(OUTAGE_SECONDS, abs=2)
    assert [seconds_of(clock, gone) for _ in range(5)] == [0] * 5


@pytest.mark.parametrize("answers", [lambda: "yes", lambda: query(refused)])
def test_after_an_answer_or_a_refusal_the_next_outage_is_waited_for(clock, answers):
    seconds_of(clock, gone)
    with suppress(MlflowException):
        query(answers)
    assert seconds_of(clock, gone) == pytest.approx(OUTAGE_SECONDS, abs=2)


def refused():
    raise MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST)


def test_an_outage_that_is_long_ago_does_not_count(clock):
    seconds_of(clock, gone)
    clock[0] += OUTAGE_SECONDS + 1
    assert seconds_of(clock, gone) == pytest.approx(OUTAGE_SECONDS, abs=2)


def test_a_store_that_comes_back_meanwhile_answers(clock):
    left = [3]

    def soon():
        left[0] -= 1
        return "here" if left[0] < 0 else gone()

    assert query(soon) == "here"
    assert seconds_of(clock, gone) == pytest.approx(OUTAGE_SECONDS, abs=2)


def test_delivery_and_questions_share_one_outage(clock, tmp_path):
    told = store(tmp_path)
    run = told.start("cell", {})
    told.client.plan = [AWAY] * 10_000
    run.points({"cost/train": 1.0})
    begun = clock[0]
    assert not run.deliver(OUTAGE_SECONDS)
    assert clock[0] - begun == pytest.approx(OUTAGE_SECONDS, abs=2)
    assert seconds_of(clock, gone) <= 1
    begun = clock[0]
    assert not run.deliver(OUTAGE_SECONDS)
    assert clock[0] == begun
    told.client.plan.clear()
    assert run.deliver(OUTAGE_SECONDS)
    run.__exit__(None, None, None)
    assert seconds_of(clock, gone) == pytest.approx(OUTAGE_SECONDS, abs=2)
    OUTAGE.ends()
