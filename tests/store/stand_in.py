"""A stand-in for MLflow's client with the same semantics and planned failures, and what a cell writes through it."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

from harness.store import note_tags
from harness.store.tracking import Store

FINE, AWAY, LOST, DIES, DIED = "fine", "away", "answer lost", "process dies", "process dies after"


WHOLE = {  # what each kind of operation has at least
    "create": {"experiment": "1", "name": "a", "tags": {}, "time": 1},
    "params": {"params": {}},
    "tags": {"tags": {}},
    "points": {"points": []},
    "dataset": dict.fromkeys(("name", "digest", "source", "profile"), ""),
    "finish": {"status": "FINISHED", "time": 1},
    "files": {},
}


def append(journal, kind, **own):
    journal.append(kind, **WHOLE[kind] | own)


class KilledError(BaseException):
    """In place of SIGKILL: nothing that the process would do afterwards may count."""


class Client:
    """MLflow's client as far as it is used. `plan`: what becomes of each call, in order; then all is fine."""

    tracking_uri, has_tables = "fake://store", False

    def __init__(self, plan=()):
        self.plan, self.dead = list(plan), False
        self.runs, self._numbers = {}, count()

    def _call(self, do):
        if self.dead:
            raise KilledError
        fate = self.plan.pop(0) if self.plan else FINE
        if fate in (DIES, DIED):
            self.dead = True
        done = None if fate in (AWAY, DIES) else do()
        if self.dead:
            raise KilledError
        if fate in (AWAY, LOST):
            raise ConnectionError("no answer")
        return done

    def search_runs(self, experiments, filter_string, *unused):
        token = filter_string.split("'")[1] if filter_string else None
        return self._call(lambda: [run for run in self.runs.values() if run.tags["journal"] == token][:1])

    def tagged(self, experiment, key, text, besides=None):
        found = self._call(lambda: [run for run in self.runs.values() if run.tags.get(key) == text])
        return [run for run in found if run.info.run_id != besides]

    def runs_tagged(self, experiment, key, texts):
        return None

    def create_run(self, experiment, time, tags, name):
        return self._call(lambda: self._create(name, tags))

    def _create(self, name, tags):
        run_id = f"run {next(self._numbers)}"
        self.runs[run_id] = SimpleNamespace(
            info=SimpleNamespace(run_id=run_id), name=name, tags=dict(tags), params={}, points={}, inputs=set(),
            files={}, status="RUNNING", told=[],
        )  # fmt: skip
        return self.runs[run_id]

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        def do():
            run = self._run(run_id)
            for tag in tags:
                run.tags[tag.key] = tag.value
            for param in params:
                if run.params.setdefault(param.key, param.value) != param.value:
                    raise MlflowException("params do not change", error_code=INVALID_PARAMETER_VALUE)
            for point in metrics:
                where = (point.key, point.step, point.timestamp)
                if run.points.setdefault(where, point.value) == point.value and where not in run.told:
                    run.told.append(where)

        self._call(do)

    def log_artifacts(self, run_id, folder):
        files = {path.name: path.read_text() for path in Path(folder).iterdir()}
        self._call(lambda: self._run(run_id).files.update(files))

    def log_artifact(self, run_id, file, folder=None):
        name = f"{folder}/{Path(file).name}" if folder else Path(file).name
        self._call(lambda: self._run(run_id).files.update({name: Path(file).read_text()}))

    def log_inputs(self, run_id, inputs):
        self._call(lambda: self._run(run_id).inputs.add(inputs[0].dataset.digest))

    def set_terminated(self, run_id, status, time):
        self._call(lambda: setattr(self._run(run_id), "status", status))

    def get_run(self, run_id):
        return self._call(lambda: self._run(run_id))

    def _run(self, run_id):
        if run_id not in self.runs:
            raise MlflowException(f"Run with id={run_id} not found", error_code=RESOURCE_DOES_NOT_EXIST)
        return self.runs[run_id]

    def list_artifacts(self, run_id, path=None):
        files = self.runs[run_id].files
        return self._call(lambda: [SimpleNamespace(path=name, file_size=len(text)) for name, text in files.items()])

    def list_files(self, run_id, place, path=None):
        return self.list_artifacts(run_id, path)

    def set_tag(self, run_id, key, value):
        self._call(lambda: self.runs[run_id].tags.update({key: value}))

    def delete_tag(self, run_id, key):
        self._call(lambda: self.runs[run_id].tags.pop(key))


def store(root, plan=()):
    return Store(Client(plan), "1", root)


def tell(run, n_points):
    """What a cell writes, in short."""
    with run:
        run.params({"batch_size": 8})
        run.dataset("iris", "0123", {}, 150, 4)
        for step in range(n_points):
            run.points({"cost/train": 1 / (1 + step), "cost/validation": 2.0}, step)
        with run.files() as folder:
            (folder / "history.csv").write_text("update\n0\n")
        run.tags(note_tags("done"))


def heard(told):
    """What the store holds of its only run, without the times."""
    (run,) = told.client.runs.values()
    points = sorted((key, step, value) for (key, step, _), value in run.points.items())
    changing = ("journal", "heartbeat")
    tags = {key: value for key, value in run.tags.items() if not key.startswith("process.") and key not in changing}
    return {
        "tags": tags,
        "points": points,
        **{key: getattr(run, key) for key in ("params", "inputs", "files", "status")},
    }
