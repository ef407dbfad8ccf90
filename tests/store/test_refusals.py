"""A store that answers with a refusal: to everything for a while, or to one kind of operation for ever."""

from itertools import cycle
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode

from harness.store import writer
from harness.store.journal import Journal
from tests.store.stand_in import heard, store, tell

CALLS = (
    "search_runs", "create_run", "log_batch", "log_artifacts", "log_inputs", "set_terminated", "get_run",
    "list_artifacts",
)  # fmt: skip
WRITES = {"params": "log_batch", "points": "log_batch", "files": "log_artifacts", "dataset": "log_inputs"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Every operation is an attempt to deliver."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(writer, "FLUSH_SECONDS", -1.0)


def http(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} Client Error for url: http://store/weights.npz", response=response)


def many_errors():
    """What MLflow makes of 500 or 429 when it may not try again."""
    error = MlflowException("API request failed with exception: too many 500 error responses")
    error.__context__ = requests.exceptions.RetryError("too many 500 error responses")
    return error


def coded(name):
    return MlflowException(f"answered {name}", error_code=ErrorCode.Value(name))


ANSWERS = {
    **{
        name: coded(name)
        for name in (
            "PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE",
            "ENDPOINT_NOT_FOUND", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "RESOURCE_EXHAUSTED",
            "CUSTOMER_UNAUTHORIZED", "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "NOT_IMPLEMENTED",
        )
    },
    "a proxy's own JSON": RestException({"error_code": 401, "message": "log in"}),
    "many errors": many_errors(),
    "malformed database": coded("BAD_REQUEST"),
    "413 for files": http(413),
}  # fmt: skip


def refusing(client, error, calls=CALLS, only=lambda *arguments, **words: True):
    """Let these calls of the client raise; returns what ends that."""
    own = {name: getattr(client, name) for name in calls}

    def wrapped(method):
        def call(*arguments, **words):
            if only(*arguments, **words):
                raise error
            return method(*arguments, **words)

        return call

    for name, method in own.items():
        setattr(client, name, wrapped(method))

    def end():
        for name, method in own.items():
            setattr(client, name, method)

    return end


def calm(root):
    told = store(root)
    tell(told.start("cell", {"kind": "cell"}), 6)
    return heard(told)


@pytest.mark.sample(30)
@pytest.mark.parametrize("begins", range(7))
@pytest.mark.parametrize("answer", sorted(ANSWERS))
def test_any_refusal_of_everything_is_an_outage(tmp_path, answer, begins):
    """From each operation on, to the end of the run; then the store is well, and has what it would have had."""
    told, ends = store(tmp_path / "shaky"), []

    append, n = Journal.append, 0

    def counted(journal, *arguments, **words):
        nonlocal n
        if n == begins:
            ends.append(refusing(told.client, ANSWERS[answer]))
        n += 1
        append(journal, *arguments, **words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", counted)
        tell(told.start("cell", {"kind": "cell"}), 6)
        told.deliver_waiting()
    ends[0]()
    assert told.deliver_waiting().complete
    assert heard(told) == calm(tmp_path / "calm")
    assert list((tmp_path / "shaky").iterdir()) == []


def carries(kind):
    argument = {"params": "params", "points": "metrics"}.get(kind)
    return lambda *arguments, **words: argument is None or argument in words


PERMANENT = {
    "files": [http(413), http(403), ModuleNotFoundError("No module named 'boto3'"), PermissionError(13, "denied"),
              RuntimeError("Unable to locate credentials"), coded("INTERNAL_ERROR"), ConnectionError("no such host")],
    "params": [coded("INVALID_PARAMETER_VALUE"), coded("PERMISSION_DENIED"), coded("INTERNAL_ERROR"), many_errors()],
    "points": [coded("BAD_REQUEST"), coded("UNAUTHENTICATED"), coded("INTERNAL_ERROR")],
    "dataset": [coded("NOT_IMPLEMENTED"), coded("ENDPOINT_NOT_FOUND")],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "error"), [(kind, error) for kind, errors in PERMANENT.items() for error in errors])
def test_what_is_refused_is_kept_and_holds_back_only_the_end(tmp_path, kind, error):
    told = store(tmp_path / "partly")
    end = refusing(told.client, error, [WRITES[kind]], carries(kind))
    tell(told.start("cell", {"kind": "cell"}), 6)
    delivered = told.deliver_waiting()
    assert (delivered.n_runs, delivered.n_waiting, delivered.complete) == (1, 0, False)
    assert delivered.refused_runs == {"run 0"}
    name = {"files": "artifacts history.csv: ", "params": "parameters: "}.get(kind, f"{kind}: ")
    assert delivered.refused
    assert all(reason.startswith(name) for reason in delivered.refused)
    wanted, ended = calm(tmp_path / "calm"), heard(told)
    key = {"dataset": "inputs"}.get(kind, kind)
    assert not ended[key]
    assert ended["status"] == "FAILED"
    assert ended["tags"]["error"].startswith(f"the store refuses {name}")
    assert {k: ended[k] for k in wanted.keys() - {key, "status", "tags"}} == {
        k: wanted[k] for k in wanted.keys() - {key, "status", "tags"}
    }
    assert len(list((tmp_path / "partly").iterdir())) == 1
    end()
    assert told.deliver_waiting().complete
    assert heard(told) == wanted
    assert list((tmp_path / "partly").iterdir()) == []


def test_the_outcome_that_a_run_gave_itself_comes_back_with_its_end(tmp_path):
    told = store(tmp_path)
    end = refusing(told.client, http(413), ["log_artifacts"])
    with told.start("cell", {}) as run:
        with run.files() as folder:
            (folder / "a.txt").write_text("a")
        run.tags({"outcome": "reached"})
    told.deliver_waiting()
    assert heard(told)["tags"]["outcome"] == "failed"
    end()
    told.deliver_waiting()
    assert heard(told)["tags"] == {**heard(told)["tags"], "outcome": "reached"}
    assert "error" not in heard(told)["tags"]
    assert heard(told)["status"] == "FINISHED"


def test_a_later_value_of_a_tag_waits_for_a_refused_one(tmp_path):
    told = store(tmp_path)
    run = told.start("cell", {})
    end = refusing(told.client, coded("BAD_REQUEST"), ["log_batch"], lambda *_, tags=(), **__: "old" in str(tags))
    with run:
        run.tags({"a": "old"})
        run.tags({"b": "free"})
        run.tags({"a": "new"})
        assert heard(told)["tags"] == {**heard(told)["tags"], "b": "free"}
        assert "a" not in heard(told)["tags"]
        end()
    assert heard(told)["tags"]["a"] == "new"


def test_an_upload_that_a_proxy_answers_with_a_page_is_no_upload(tmp_path):
    """With status 200: MLflow takes it for a success."""
    told = store(tmp_path)
    told.client.tracking_uri = "http://store"
    upload = told.client.log_artifact
    told.client.log_artifact = lambda run_id, file, folder: None
    tell(told.start("cell", {"kind": "cell"}), 2)
    assert not told.deliver_waiting().complete
    assert heard(told)["files"] == {}
    told.client.log_artifact = upload
    assert told.deliver_waiting().complete
    assert heard(told)["files"] == {"history.csv": "update\n0\n"}


def test_files_that_arrived_are_not_sent_again(tmp_path):
    """Where each attempt loses some requests, all files together would hardly ever arrive."""
    told = store(tmp_path)
    told.client.tracking_uri = "http://store"
    upload, sent = told.client.log_artifact, []

    def every_second(run_id, file, folder):
        sent.append(Path(file).name)
        if len(sent) % 2 == 0:
            raise http(502)
        upload(run_id, file, folder)

    told.client.log_artifact = every_second
    with told.start("cell", {}) as run, run.files() as folder:
        (folder / "figures").mkdir()
        for name in ("a.txt", "b.txt", "figures/c.txt"):
            (folder / name).write_text(name)
    assert any(told.deliver_waiting().complete for _ in range(4)), told.deliver_waiting()
    assert heard(told)["files"] == {name: name for name in ("a.txt", "b.txt", "figures/c.txt")}
    assert sent == ["a.txt", "b.txt", "c.txt", "b.txt", "b.txt"]


def test_a_refusal_that_moves_is_waited_for(tmp_path, monkeypatch):
    """A server that loses half of all requests takes longer than the patience for one that takes nothing."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (8.0, 8.0))
    now, answers = [0.0], cycle([True, True, False])
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(writer.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    told = store(tmp_path)
    end = refusing(told.client, http(413), ["log_artifacts"])
    with told.start("cell", {}) as run:
        for name in "abcd":
            with run.files() as folder:
                (folder / name).write_text(name)
    end()
    refusing(told.client, http(502), ["log_artifacts"], lambda *_: next(answers))
    begun = now[0]
    assert told.deliver_waiting(60.0).complete
    assert now[0] - begun >= writer.REFUSAL_SECONDS


def test_a_store_that_came_back_empty_costs_no_journal(tmp_path):
    """Its runs are not there any more; runs that begin now are written."""
    told = store(tmp_path)
    with told.start("cell", {}) as run:
        run.points({"a": 1.0}, 0)
        told.client.runs.clear()
        for step in range(1, 5):
            run.points({"a": 1.0}, step)
    with told.start("cell", {}) as other:
        other.points({"a": 1.0}, 0)
    delivered = told.deliver_waiting()
    assert "Run with id=run 0 not found" in delivered.refused[0]
    (journal,) = Journal.abandoned(tmp_path)
    steps = [point[3] for one in journal.pending() for point in one.content.get("points", [])]
    assert steps == [1, 2, 3, 4]
    assert [one.status for one in told.client.runs.values()] == ["FINISHED"]


def test_a_run_of_which_only_the_end_is_refused_is_told_too(tmp_path):
    told = store(tmp_path)
    run = told.start("cell", {})
    told.client.runs.clear()
    run.finish("KILLED")
    run.journal.release()
    delivered = told.deliver_waiting()
    assert len(delivered.refused) == len(delivered.refused_runs) == 1
    assert "the end of a run" in delivered.refused[0]


def test_a_run_that_cannot_be_created_does_not_stop_the_others(tmp_path):
    told = store(tmp_path)
    refuse = lambda *arguments: arguments[3] == "bad"  # noqa: E731
    end = refusing(told.client, coded("RESOURCE_DOES_NOT_EXIST"), ["create_run"], refuse)
    tell(told.start("bad", {}), 2)
    tell(told.start("good", {}), 2)
    delivered = told.deliver_waiting()
    assert delivered.refused == ["a run: answered RESOURCE_DOES_NOT_EXIST"]
    assert [one.name for one in told.client.runs.values()] == ["good"]
    end()
    assert told.deliver_waiting().complete
    assert [one.status for one in told.client.runs.values()] == ["FINISHED", "FINISHED"]


def test_many_runs_that_are_refused_share_one_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PAUSE_SECONDS", (1.0, 30.0))
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(writer.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    told = store(tmp_path)
    refusing(told.client, http(413), ["log_artifacts"])
    for _ in range(8):
        tell(told.start("cell", {}), 2)
    before = now[0]
    told.deliver_waiting(60.0)
    assert now[0] - before == pytest.approx(writer.REFUSAL_SECONDS, abs=1.5)


def test_refused_points_become_one_group(tmp_path):
    """Else a long training beside a read-only password would send more and more requests."""
    told = store(tmp_path)
    refusing(told.client, coded("PERMISSION_DENIED"), ["log_batch"], carries("points"))
    with told.start("cell", {}) as run:
        for step in range(50):
            run.points({"a": 1.0}, step)
        assert [one.kind for one in run.journal.held] == ["points"]


def test_an_error_in_a_program_is_raised_once_and_its_points_are_kept(tmp_path):
    told = store(tmp_path)
    end = refusing(told.client, RuntimeError("a mistake"), ["log_batch"], carries("points"))
    with pytest.raises(RuntimeError, match="a mistake"), told.start("cell", {}) as run:
        run.points({"a": 1.0}, 0)
    end()
    assert told.deliver_waiting().complete
    assert heard(told)["points"] == [("a", 0, 1.0)]
    assert heard(told)["status"] == "FAILED"
