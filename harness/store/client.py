"""MLflow's client, with the bookkeeping of runs out of sight: the UI shows no tag whose name begins with `mlflow.`.

Callers use the plain names; so had the runs of earlier versions, which are read as well. Imports MLflow, so it is
imported where a store is opened.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from harness.store.bulk import Bulk
from harness.store.journal_files import below, put
from harness.store.names import hidden, plain
from harness.store.places import path_of

if TYPE_CHECKING:
    from mlflow.entities import Run


class Client(MlflowClient):  # type: ignore[misc]
    """The calls that write or read tags of runs, or write files."""

    _last = ("", "")  # id and place of files of the run that was created, or given files, last

    @cached_property
    def _bulk(self) -> Bulk | None:
        return Bulk.of(self.tracking_uri)

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: dict[str, Any] | None = None,
        run_name: str | None = None,
    ) -> "Run":
        own = {hidden(key): value for key, value in (tags or {}).items()}
        run = _shown(super().create_run(experiment_id, start_time, own, run_name))
        self._last = run.info.run_id, run.info.artifact_uri
        return run

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """As MLflow does, which asks the store for the place of each run; files on this machine reach the disk."""
        place, source = self._place(run_id), Path(local_dir)
        if folder := path_of(place):
            put(below(source), source, Path(folder, artifact_path or ""))
        elif not self.tracking_uri.startswith("databricks"):
            get_artifact_repository(place, tracking_uri=self.tracking_uri).log_artifacts(local_dir, artifact_path)
        else:
            super().log_artifacts(run_id, local_dir, artifact_path)

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        if folder := path_of(self._place(run_id)):
            put([Path(local_path)], Path(local_path).parent, Path(folder, artifact_path or ""))
        else:
            super().log_artifact(run_id, local_path, artifact_path)

    def _place(self, run_id: str) -> str:
        if run_id != self._last[0]:
            self._last = run_id, str(self.get_run(run_id).info.artifact_uri)
        return self._last[1]

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
        if not options and self._bulk and self._bulk.log(run_id, metrics, params, own):
            return None
        return super().log_batch(run_id, metrics, params, own, **options)

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        return super().set_tag(run_id, hidden(key), value, synchronous)

    def delete_tag(self, run_id: str, key: str) -> None:
        with suppress(MlflowException):  # of an earlier version
            return super().delete_tag(run_id, hidden(key))
        return super().delete_tag(run_id, key)

    def get_run(self, run_id: str) -> "Run":
        return _shown(super().get_run(run_id))

    def search_runs(self, experiment_ids: list[str], filter_string: str = "", *args: Any, **options: Any) -> Any:
        found = super().search_runs(experiment_ids, filter_string, *args, **options)
        for run in found:
            _shown(run)
        return found


def _shown(run: "Run") -> "Run":
    """The run with the plain names of its tags; one that has a plain name already keeps it."""
    tags = run.data.tags
    for key in [key for key in tags if plain(key) != key]:
        tags.setdefault(plain(key), tags.pop(key))
    return run
