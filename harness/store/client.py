"""MLflow's client, with the bookkeeping of runs out of sight: the UI shows no tag whose name begins with `mlflow.`.

Callers use the plain names; so had the runs of earlier versions, which are read as well. Imports MLflow, so it is
imported where a store is opened.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import DatasetInput, FileInfo, LifecycleStage, Metric, Param, Run, RunData, RunInfo, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from harness.store.direct import Direct
from harness.store.journal_files import below, put
from harness.store.names import hidden, plain
from harness.store.places import path_of
from harness.store.rows import RUN_NAME
from harness.store.tagged import Tagged


class Client(MlflowClient):  # type: ignore[misc]
    """The calls that write or read tags of runs, or write files; and those that the tables of a SQLite store answer."""

    _last = ("", "")  # id and place of files of the run that was created, or given files, last

    @cached_property
    def _direct(self) -> Direct | None:
        return Direct.of(self.tracking_uri)

    @cached_property
    def _tagged(self) -> Tagged | None:
        return Tagged(self._direct.engine) if self._direct else None  # with the same connections

    @property
    def has_tables(self) -> bool:
        """Whether the store is a SQLite database whose tables are as expected: then `log_whole` is worth asking."""
        return self._direct is not None

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: dict[str, Any] | None = None,
        run_name: str | None = None,
    ) -> Run:
        own = {hidden(key): value for key, value in (tags or {}).items()}
        run = self._created(experiment_id, start_time, own, run_name)
        self._last = run.info.run_id, run.info.artifact_uri
        return _shown(run)

    def _created(self, experiment_id: str, start: int | None, tags: Mapping[str, Any], name: str | None) -> Run:
        if not (self._direct and start and name and (new := self._direct.create(experiment_id, name, start, tags))):
            return super().create_run(experiment_id, start, tags, name)
        run_id, place, user = new
        info = RunInfo(run_id, experiment_id, user, "RUNNING", start, None, LifecycleStage.ACTIVE, place, name)
        return Run(info, RunData(tags=[RunTag(*item) for item in {**tags, RUN_NAME: name}.items()]))

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """As MLflow does, which asks the store for the place of each run; files on this machine reach the disk."""
        place = self._place(run_id)
        if folder := path_of(place):
            put(_named(Path(local_dir)), Path(folder, artifact_path or ""))
        elif files := self._files(place):
            files.log_artifacts(local_dir, artifact_path)
        else:
            super().log_artifacts(run_id, local_dir, artifact_path)

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        place, source = self._place(run_id), Path(local_path)
        if folder := path_of(place):
            put([(source, Path(source.name))], Path(folder, artifact_path or ""))
        elif files := self._files(place):
            files.log_artifact(local_path, artifact_path)
        else:
            super().log_artifact(run_id, local_path, artifact_path)

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """As MLflow does, which asks a server each time for the run, and for the files of models: not ours."""
        return self.list_files(run_id, self._place(run_id), path)

    def list_files(self, run_id: str, place: str, path: str | None = None) -> list[FileInfo]:
        """The same of a run whose place of artifacts is known."""
        files = self._files(place)
        return list(files.list_artifacts(path) if files else super().list_artifacts(run_id, path))

    def _files(self, place: str) -> ArtifactRepository | None:
        """None where MLflow has to ask the store, as Databricks knows who may."""
        if self.tracking_uri.startswith("databricks"):
            return None
        return get_artifact_repository(place, tracking_uri=self.tracking_uri)

    def _place(self, run_id: str) -> str:
        last, place = self._last
        if run_id != last:
            place = str(self.get_run(run_id).info.artifact_uri)
            self._last = run_id, place
        return place

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
        **options: Any,
    ) -> Any:
        """As MLflow does; where that is possible, in one transaction in place of one for each kind of items."""
        own = [RunTag(hidden(tag.key), tag.value) for tag in tags]
        if not options and self._direct and self._direct.log(run_id, metrics, params, own):
            return None
        return super().log_batch(run_id, metrics, params, own, **options)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] | None = None, *models: Any) -> None:
        if models or not (self._direct and self._direct.log(run_id, inputs=datasets or ())):
            super().log_inputs(run_id, datasets, *models)

    def log_whole(self, run_id: str, folders: Sequence[Path], tags: Sequence[RunTag], **items: Any) -> bool:
        """The files of folders, then all else in one transaction: whether the tables took it.

        Only where they and the files are on this machine. items: as `Direct.log` takes them.
        """
        if not (self._direct and (place := path_of(self._place(run_id)))):
            return False
        put([one for folder in folders for one in _named(folder)], Path(place))
        return self._direct.log(run_id, tags=[RunTag(hidden(tag.key), tag.value) for tag in tags], **items)

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        if not (self._direct and status and end_time and self._direct.end(run_id, status, end_time)):
            super().set_terminated(run_id, status, end_time)

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        return super().set_tag(run_id, hidden(key), value, synchronous)

    def delete_tag(self, run_id: str, key: str) -> None:
        with suppress(MlflowException):  # of an earlier version
            return super().delete_tag(run_id, hidden(key))
        return super().delete_tag(run_id, key)

    def get_run(self, run_id: str) -> Run:
        return _shown(super().get_run(run_id))

    def search_runs(self, experiment_ids: list[str], filter_string: str = "", *args: Any, **options: Any) -> Any:
        found = super().search_runs(experiment_ids, filter_string, *args, **options)
        for run in found:
            _shown(run)
        return found

    def tagged(self, experiment_id: str, key: str, text: str, besides: str | None = None) -> list[Run]:
        """The runs that were created with this tag, but for one; where there is none, MLflow is not asked.

        The filter has one clause: each further one makes MLflow's search slower by a millisecond.
        """
        ids = self._tagged.ids(hidden(key), text) if self._tagged else None
        if ids is not None and not ids - {besides}:
            return []
        found = self.search_runs([experiment_id], f"tags.`{hidden(key)}` = '{text}'", 1, 1000)
        return [run for run in found if run.info.run_id != besides]

    def runs_tagged(self, experiment_id: str, key: str, texts: Collection[str]) -> list[Run] | None:
        """The runs with one of these values of a tag in the order of their start; None where only MLflow reads them."""
        found = self._tagged.runs(experiment_id, hidden(key), texts) if self._tagged else None
        return None if found is None else list(map(_shown, found))


def _named(folder: Path) -> list[tuple[Path, Path]]:
    """What is in a folder, with its names there."""
    return [(path, path.relative_to(folder)) for path in below(folder)]


def _shown(run: Run) -> Run:
    """The run with the plain names of its tags; one that has a plain name already keeps it."""
    tags = run.data.tags
    for key in [key for key in tags if plain(key) != key]:
        tags.setdefault(plain(key), tags.pop(key))
    return run
