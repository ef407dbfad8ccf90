"""From a journal to MLflow: what each kind of operation becomes. Sent twice, every operation has the effect of one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.store.connection import DEFAULTS, TIMEOUT, request_timeout, unreachable_errors
from harness.store.journal import Journal, Operation

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    Sender = Callable[[MlflowClient, Journal, list[Operation]], None]

MAX_POINTS, MAX_PARAMS = 1000, 100  # MLflow's limits for one call
TRAINING_TIMEOUT = "5"  # seconds that a request may take while training waits
CONFLICTS = ("IntegrityError", "UniqueViolation")  # in MLflow's message when another process wrote the same row first


def send(client: "MlflowClient", journal: Journal, operations: list[Operation], training: bool = True) -> None:
    """Send consecutive operations of one kind. Raises UnreachableError if they may be sent again later.

    training: wait less long for an answer, because training waits too.
    """
    with unreachable_errors(), request_timeout(TRAINING_TIMEOUT if training else DEFAULTS[TIMEOUT]):
        SENDERS[operations[0].kind](client, journal, operations)


def _create(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    """Create the run, once: if the answer to an earlier attempt was lost, the run carries the journal's token.

    The search comes first even when the run cannot exist yet: a store that hangs should hang on a search.
    """
    content = operations[0].content
    found = client.search_runs([content["experiment"]], f"tags.journal = '{journal.token}'", 1, 1)
    if journal.state["tried"] and found:
        journal.state["run_id"] = found[0].info.run_id
        return
    journal.state["tried"] = True
    journal.save()
    tags = {**content["tags"], "journal": journal.token}
    run = client.create_run(content["experiment"], content["time"], tags, content["name"])
    journal.state["run_id"] = run.info.run_id


def _params(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    from mlflow.entities import Param

    items = [Param(key, value) for key, value in operations[0].content["params"].items()]
    for start in range(0, len(items), MAX_PARAMS):
        client.log_batch(journal.state["run_id"], params=items[start : start + MAX_PARAMS])


def _tags(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(key, value) for key, value in operations[0].content["tags"].items()]
    client.log_batch(journal.state["run_id"], tags=tags)


def _points(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    """A point that is sent twice is one point, because it carries the time at which it was measured."""
    from mlflow.entities import Metric

    points = [Metric(*point) for operation in operations for point in operation.content["points"]]
    for start in range(0, len(points), MAX_POINTS):
        client.log_batch(journal.state["run_id"], metrics=points[start : start + MAX_POINTS])


def _files(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    folder = journal.folder / "files" / operations[0].content["folder"]
    if folder.exists():
        client.log_artifacts(journal.state["run_id"], str(folder))


def _dataset(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    """If two runs log the same new dataset at once MLflow refuses one of them; its second attempt finds the dataset.

    MLflow has no error code for that, only the database's words in its message: changed, that run would fail.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    record = Dataset(source_type="code", **operations[0].content)
    inputs = [DatasetInput(record, [InputTag("mlflow.data.context", "training")])]
    try:
        client.log_inputs(journal.state["run_id"], inputs)
    except MlflowException as conflict:
        if not any(word in str(conflict) for word in CONFLICTS):
            raise
        client.log_inputs(journal.state["run_id"], inputs)


def _finish(client: "MlflowClient", journal: Journal, operations: list[Operation]) -> None:
    content = operations[0].content
    client.set_terminated(journal.state["run_id"], content["status"], content["time"])


SENDERS: "dict[str, Sender]" = {
    "create": _create,
    "params": _params,
    "tags": _tags,
    "points": _points,
    "files": _files,
    "dataset": _dataset,
    "finish": _finish,
}
