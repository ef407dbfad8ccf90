"""Sends operations of a journal to MLflow, and tells a store that is away from one that refuses a part.

An operation that fails while the store answers a question about the run is refused: it is tried again, too, but holds
nothing back that does not depend on it. So an error needs no name to be survived: 401, 413, a page of HTML, a bucket
without a password.
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.store import claims, connection
from harness.store.claims import PROVISIONAL
from harness.store.connection import RefusedError, UnreachableError, reason
from harness.store.journal import Journal
from harness.store.journal_files import FIELDS, Operation
from harness.store.rows import CONTEXT

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from harness.store.client import Client

MAX_ITEMS, MOST = 1000, {"params": 100, "tags": 100, "metrics": 1000}  # MLflow's limits for one call: all, each
TRAINING_TIMEOUT = "5"  # seconds that a request may take while training waits
CONFLICTS = ("IntegrityError", "UniqueViolation")  # the database's words for a row that exists; MLflow has no code
NAMES = {"create": "a run", "files": "artifacts", "params": "parameters", "finish": "the end of a run"}  # for people
MOST_NAMED = 3  # artifacts


def send(client: "Client", journal: Journal, operations: list[Operation], training: bool) -> None:
    """Send one group of operations from the journal to MLflow; sent twice, they have the effect of one.

    training: wait less long for an answer, and raise an error that is none of a store, as it is a mistake in a program.
    Raises UnreachableError if the store is away, RefusedError if it answers but does not take these.
    """
    timeout = connection.request_timeout(TRAINING_TIMEOUT) if training else nullcontext()
    with timeout:
        try:
            for one in operations:
                _wait_for_earlier(journal, one)
            _send(client, journal, operations, training)
        except (UnreachableError, claims.TakenError):
            raise
        except Exception as error:
            if training and not _is_of_a_store(error, operations[0]) and operations[0].begin >= journal.state["offset"]:
                if len({one.kind for one in operations}) > 1:
                    raise RefusedError(reason(error)) from error  # which of them it is shows when each is sent
                journal.hold(operations, reason(error))
                raise
            raise _failure(client, journal, operations[0], error) from error


def _wait_for_earlier(journal: Journal, one: Operation) -> None:
    """A finished run has all its points and files, and a tag its last value. Raises RefusedError."""
    if one.kind != "create" and journal.state["run_id"] is None:
        raise RefusedError("the run was never created")
    earlier = [held for held in journal.held if held.begin < one.begin]
    if earlier and one.kind == "finish" and one.content["status"] == "FINISHED":
        raise RefusedError(earlier[0].reason)
    for held in earlier:
        if held.kind == one.kind == "tags":
            (tags,) = journal.operations(held.begin, held.end)
            if tags.content["tags"].keys() & one.content["tags"].keys():
                raise RefusedError(held.reason)


def _is_of_a_store(error: Exception, one: Operation) -> bool:
    """Artifacts may lie in any other store, whose library has errors of its own."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException | OSError) or one.kind == "files"


def _failure(client: "Client", journal: Journal, one: Operation, error: Exception) -> UnreachableError:
    """What an error means, once the store was asked something else."""
    refused = RefusedError(f"{_named(journal, one)}: {reason(error)}")
    if one.kind != "files" and not connection.is_answer(error):
        return UnreachableError(reason(error))
    try:
        with connection.unreachable_errors():
            if run_id := journal.state["run_id"]:
                client.get_run(run_id)
            else:
                client.search_runs([one.content["experiment"]], "", 1, 1)
    except UnreachableError as away:
        return away
    except Exception:  # it answers that the run, or the experiment, is not there
        return refused
    return refused


def _named(journal: Journal, one: Operation) -> str:
    """Artifacts with the names of their files."""
    kind = NAMES.get(one.kind, one.kind)
    if one.kind != "files":
        return kind
    files = sorted(path.name for path in (journal.folder / "files" / one.content["folder"]).rglob("*.*"))
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return f"{kind} {', '.join(files[:MOST_NAMED])}{more}"


def send_whole(client: "Client", journal: Journal, operations: list[Operation]) -> bool:
    """Send what a run in training writes at once: whether that was done. If not, each is sent as by `send`.

    A transaction costs a small cell more time than what is in it.
    """
    if not (run_id := journal.state["run_id"]):
        return False
    folders = [journal.folder / "files" / one.content["folder"] for one in operations if one.kind == "files"]
    inputs = [_dataset(one.content) for one in operations if one.kind == "dataset"]
    with suppress(Exception):  # `send` meets it again, and knows what it means
        return client.log_whole(run_id, list(filter(Path.exists, folders)), inputs=inputs, **_items(operations))
    return False


def _send(client: "Client", journal: Journal, operations: list[Operation], training: bool) -> None:
    kind, content = operations[0].kind, operations[0].content
    run_id = journal.state["run_id"]
    match kind:
        case "create":
            _create(client, journal, content, asking=training and journal.state.get(claims.CLAIM) == claims.WANTED)
        case "files":
            if (folder := journal.folder / "files" / content["folder"]).exists():
                _log_files(client, run_id, folder)
        case "dataset":
            _log_dataset(client, run_id, content)
        case "finish":
            if journal.state.get(PROVISIONAL):
                _restore_tags(client, journal)
            claims.finish(client, journal.state, content["status"], content["time"], training)
        case _:
            _log(client, run_id, operations)


def _log_files(client: "Client", run_id: str, folder: Path) -> None:
    """Send the files of a folder. To a server each by itself, and those that arrive are deleted here: of a server that
    loses some requests, the next attempt asks for less. Raises what MLflow raises.
    """
    if not client.tracking_uri.startswith("http"):
        client.log_artifacts(run_id, str(folder))
        return
    places = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    failures = list[Exception]()
    for place in places:
        failures += _log_place(client, run_id, folder, place)
        if failures and not connection.is_answer(failures[-1]):
            break  # each further one may wait as long for an answer
    if failures:
        raise failures[0]


def _log_place(client: "Client", run_id: str, folder: Path, place: Path) -> Iterator[Exception]:
    """Send the files of one folder; what failed. A proxy may answer an upload with a page of HTML: they are listed."""
    inside, sent = place.relative_to(folder).as_posix() if place != folder else None, []
    for file in sorted(filter(Path.is_file, place.iterdir())):
        try:
            client.log_artifact(run_id, str(file), inside)
            sent.append(file)
        except Exception as error:  # of any store: one file may be too large, and the others not
            yield error
            if not connection.is_answer(error):
                return
    listed = {item.path: item.file_size for item in client.list_artifacts(run_id, inside)} if sent else {}
    for file in sent:
        path = file.relative_to(folder).as_posix()
        if listed.get(path, -1) in (file.stat().st_size, None):
            file.unlink()
        else:
            yield OSError(f"{path} is not in the store after it was sent")


def end_provisionally(client: "Client", journal: Journal) -> None:
    """End a run as FAILED whose own end waits for what the store refuses; its own end is sent after that."""
    from mlflow.exceptions import MlflowException

    last = [one for one in journal.pending() if one.kind == "finish"][-1:]
    run_id = journal.state["run_id"]
    if not (last and run_id):
        return
    tags = {"outcome": "failed", "error": f"the store refuses {journal.held[0].reason}"}
    with suppress(UnreachableError, MlflowException), connection.unreachable_errors():
        client.set_terminated(run_id, "FAILED", last[0].content["time"])
        _log(client, run_id, [Operation("tags", {"tags": tags}, 0, 0)])
        journal.state[PROVISIONAL] = True
        journal.save()


def _restore_tags(client: "Client", journal: Journal) -> None:
    """Set again what `end_provisionally` has set otherwise."""
    own: dict[str, str] = {}
    for one in journal.operations(0, journal.state["offset"]):
        own |= one.content["tags"] if one.kind in ("create", "tags") else {}
    for key in ("outcome", "error"):
        if key in own:
            client.set_tag(journal.state["run_id"], key, own[key])
        else:
            client.delete_tag(journal.state["run_id"], key)


def _create(client: "Client", journal: Journal, content: Mapping[str, Any], asking: bool) -> None:
    """Create the run, once: if the answer to an earlier attempt was lost, a run carries the journal's name.

    A question comes first even when the run cannot exist yet: a store that hangs should hang on a question.
    asking: the first attempt; not if another process trains this cell, or has finished it. Then raises TakenError.
    """
    name, experiment = journal.folder.name, content["experiment"]
    if asking and claims.rivals(client, experiment, content["tags"]["signature"]):
        journal.forget()
        raise claims.TakenError
    found = [] if asking else client.tagged(experiment, "journal", name)
    if not found:
        tags = {**content["tags"], "journal": name}
        found = [client.create_run(experiment, content["time"], tags, content["name"])]
    journal.state["run_id"] = found[0].info.run_id


def _log(client: "Client", run_id: str, operations: list[Operation]) -> None:
    """Parameters, tags and points, in as few requests as MLflow allows.

    A point that is sent twice is one: it carries the time at which it was measured.
    """
    left = _items(operations)
    while any(left.values()):
        client.log_batch(run_id, **_request(left))


def _items(operations: list[Operation]) -> dict[str, list[Any]]:
    """As MLflow's entities; the last value of a tag counts."""
    from mlflow.entities import Metric, Param, RunTag

    contents = [one.content for one in operations]
    tags = {key: text for content in contents for key, text in content.get("tags", {}).items()}
    return {
        "params": [Param(*item) for content in contents for item in content.get("params", {}).items()],
        "tags": [RunTag(*item) for item in tags.items()],
        "metrics": [Metric(*point) for content in contents for point in content.get("points", ())],
    }


def _request(left: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What one request may take, out of what is left."""
    taken, room = dict[str, list[Any]](), MAX_ITEMS
    for name, most in MOST.items():
        n = min(most, room, len(left[name]))
        taken[name], left[name] = left[name][:n], left[name][n:]
        room -= n
    return {name: items for name, items in taken.items() if items}


def _log_dataset(client: "Client", run_id: str, content: Mapping[str, Any]) -> None:
    """If two runs log the same new dataset at once, MLflow refuses one; its second attempt finds the dataset."""
    from mlflow.exceptions import MlflowException

    inputs = [_dataset(content)]
    try:
        client.log_inputs(run_id, inputs)
    except MlflowException as conflict:
        if not any(word in str(conflict) for word in CONFLICTS):
            raise
        client.log_inputs(run_id, inputs)


def _dataset(content: Mapping[str, Any]) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    about = {field: content[field] for field in FIELDS["dataset"]}
    return DatasetInput(Dataset(source_type="code", **about), [InputTag(CONTEXT, "training")])
