"""What is read of a tracking store: its runs and their files."""

import os
import random
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.config import ConfigError, visible
from harness.store import claims, connection, places
from harness.store.connection import RefusedError, UnreachableError, query, reason
from harness.store.forms import check_run, lost_file
from harness.store.hosts import is_allowed
from harness.store.names import hidden
from harness.store.places import path_of
from harness.store.processes import is_dead
from harness.store.redaction import redacted

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

    from harness.store.client import Client

S = TypeVar("S")
T = TypeVar("T")

FINISHED = "attributes.status = 'FINISHED'"
FINISHED_CELL = f"{FINISHED} and tags.kind = 'cell'"
FEW = 16  # cells that are looked up one by one
NEWEST = 20  # runs for each cell that is looked up
ID_LENGTH = 32  # hexadecimal digits of a run's id
PAGE = 50_000  # runs: the most that MLflow gives at once
AT_ONCE = 8  # questions to a server
ACTIVE, DELETED = 1, 2  # MLflow's ViewType
MOST_LISTED = 256  # runs whose files are listed where thousands are to be found again
MOST_OTHERS = 200  # cells that others have trained since a sweep began; of more, all are looked up


class Runs:
    """The runs of an experiment of an open tracking store."""

    def __init__(self, client: "Client", experiment_id: str) -> None:
        self.client, self.experiment_id = client, experiment_id
        self._left_out: set[str] = set()  # runs of which that was said

    @property
    def uri(self) -> str:
        """Where the store is, without the password that a server's address may hold."""
        return redacted(self.client.tracking_uri)

    def _search(self, filter_string: str, of_any_form: bool = False) -> list["Run"]:
        """Runs of the experiment in the order in which they were started, but for those that are not sound.

        See `forms`; which are left out is said once. of_any_form: only their artifacts are to be on allowed places.
        """
        page = self._page(filter_string, PAGE, "ASC")
        found = list(page)
        while page.token:
            page = self._page(filter_string, PAGE, "ASC", page.token)
            found += page
        is_wanted = self._is_allowed if of_any_form else self._is_sound
        return [run for run in found if is_wanted(run)]

    def _page(
        self, filter_string: str, most: int, order: str, token: str | None = None, view: int = ACTIVE
    ) -> "PagedList[Run]":
        by = [f"attributes.start_time {order}"]
        return query(
            lambda: self.client.search_runs([self.experiment_id], filter_string, view, most, by, token), refusals=()
        )

    def _is_allowed(self, run: "Run") -> bool:
        return is_allowed(run.info.artifact_uri, self.client.tracking_uri)

    def _is_sound(self, run: "Run") -> bool:
        try:
            check_run(run, self.client.tracking_uri)
        except ConfigError as odd:
            self._leave_out(run, str(odd))
            return False
        return True

    def _leave_out(self, run: "Run", why: str) -> None:
        if run.info.run_id not in self._left_out:
            self._left_out.add(run.info.run_id)
            print(visible(f"harness: left out: {why}"), file=sys.stderr)

    def get(self, run_id: str) -> "Run":
        """Raises MlflowException if there is no such run, ConfigError if it is not sound."""
        run = query(lambda: self.client.get_run(run_id))
        check_run(run, self.client.tracking_uri)
        return run

    def beginning_with(self, digits: str) -> list["Run"]:
        """The runs of the experiment whose ids begin with these digits; of a whole id, the run wherever it is."""
        from mlflow.exceptions import MlflowException

        if len(digits) < ID_LENGTH:
            return self._search(f"attributes.run_id LIKE '{digits}%'")
        with suppress(MlflowException):
            return [self.get(digits)]
        return []

    def cells(self, sweep: str) -> list["Run"]:
        """The cell runs of a sweep, also those that an earlier sweep finished, in the order of their start."""
        return self._with_tag(sweep_tag(sweep), "yes")

    def _with_tag(self, key: str, text: str) -> list["Run"]:
        found = query(lambda: self.client.runs_tagged(self.experiment_id, key, [text]))
        if found is None:
            return self._search(f"tags.`{hidden(key)}` = '{text}'")
        return list(filter(self._is_sound, found))

    def finished_with(self, key: str, text: str) -> list["Run"]:
        """The finished runs with this tag, in the order of their start."""
        return [run for run in self._with_tag(key, text) if run.info.status == "FINISHED"]

    def cells_and_sweeps(self) -> list["Run"]:
        """Every run that the harness made, but for those that are still being unpacked."""
        return [run for kind in ("cell", "sweep") for run in self._search(f"tags.kind = '{kind}'")]

    def last(self, **tags: str) -> "Run | None":
        """The newest run with these tags, however it ended."""
        return next(reversed(self._search(" and ".join(f"tags.{key} = '{text}'" for key, text in tags.items()))), None)

    def last_study(self, name: str, size: str) -> "Run | None":
        """The newest finished sweep of a study."""
        found = self._search(f"{FINISHED} and tags.kind = 'sweep' and tags.study = '{name}' and tags.size = '{size}'")
        return found[-1] if found else None

    def sweeps_with(self, tag: str) -> list["Run"]:
        """The sweeps that have this tag, whatever became of them."""
        return self._search(f"tags.kind = 'sweep' and tags.`{tag}` LIKE '%'")

    def finished_cell(self, signature: str) -> "Run | None":
        """The newest finished run of a cell that still has its files."""
        found = self._page(f"{FINISHED_CELL} and tags.signature = '{signature}'", 1000, "DESC")
        return next((run for run in found if self._is_whole(run)), None)

    def finished_cells(self, signatures: Sequence[str]) -> dict[str, "Run"]:
        """Signature -> the same, of those that have one.

        Many are looked for together, on a server among the newest runs first.
        """
        newest, seen_all = self._newest(signatures) if len(signatures) > FEW else ([], False)
        wanted, found, own = set(signatures), dict[str, "Run"](), dict[str, list["Run"]]()
        for run in filter(self._is_sound, newest):
            own.setdefault(run.data.tags.get("signature", ""), []).append(run)
        own = {signature: runs for signature, runs in own.items() if signature in wanted}
        lost = self.ask_for_each(self._lost_file, [runs[0] for runs in own.values()])
        for (signature, (first, *others)), gone in zip(own.items(), lost, strict=True):
            run = first if self._says_whole(first, gone) else next(filter(self._is_whole, others), None)
            if run:
                found[signature] = run
        left = () if seen_all else [signature for signature in signatures if signature not in found]
        each = ((signature, self.finished_cell(signature)) for signature in left)
        return found | {signature: run for signature, run in each if run}

    def finds_again(self, cells: Mapping[str, str], sweep: "Run") -> bool:
        """Whether `finished_cells` would surely find the runs (signature -> id) that a sweep has trained.

        A server gives thousands of runs slowly, so these are not read: no other run has trained one of the cells since
        the sweep began, none of its runs was deleted or has another end, and they have their files: of many, each has
        its folder, and some were listed. A tag of these runs that somebody edits goes unnoticed. False also for few
        cells and a store on this machine, which are fast.
        """
        from mlflow.exceptions import MlflowException

        trained_all = sweep.data.tags.get("cells_found_finished") == "0" and all(map(is_id, cells.values()))
        if len(cells) <= FEW or not trained_all or not self.client.tracking_uri.startswith("http"):
            return False
        with suppress(MlflowException):  # the server of an earlier version may not know IS NULL
            if self._is_as_it_was(cells, sweep):
                place = str(sweep.info.artifact_uri)
                listed = [(own, place.replace(sweep.info.run_id, own)) for own in self._to_list(cells, sweep)]
                return bool(listed) and not any(self.ask_for_each(lambda one: self._lost(*one), listed))
        return False

    def _is_as_it_was(self, cells: Mapping[str, str], sweep: "Run") -> bool:
        own, begun = sweep.info.run_id, sweep.info.start_time
        since = f"attributes.start_time >= {begun} and tags.`{sweep_tag(own)}` IS NULL"
        others = self._page(f"{FINISHED_CELL} and {since}", MOST_OTHERS + 1, "DESC")
        if len(others) > MOST_OTHERS or any(run.data.tags.get("signature") in cells for run in others):
            return False
        unfinished = self._search(f"attributes.status != 'FINISHED' and {of_sweep(own)}", of_any_form=True)
        has_changed = {run.info.run_id for run in unfinished} & set(cells.values())
        return not (has_changed or self._page(of_sweep(own), 1, "ASC", view=DELETED))

    def _to_list(self, cells: Mapping[str, str], sweep: "Run") -> list[str]:
        """The runs whose files are listed: all; of more than MOST_LISTED as many, if each of all has a folder."""
        own, place = sweep.info.run_id, str(sweep.info.artifact_uri)
        if len(cells) <= MOST_LISTED:
            return list(cells.values())
        above = place.partition(f"/{own}/")[0]
        folders = {item.path for item in query(lambda: self.client.list_files(own, above))}
        return random.Random(own).sample(list(cells.values()), MOST_LISTED) if folders >= set(cells.values()) else []

    def _newest(self, signatures: Sequence[str]) -> tuple[list["Run"], bool]:
        """Finished cells, the newest first, and whether all that have these signatures are among them."""
        ours = query(lambda: self.client.runs_tagged(self.experiment_id, "signature", signatures))
        if ours is not None:
            cells = (run for run in reversed(ours) if run.data.tags.get("kind") == "cell")
            return [run for run in cells if run.info.status == "FINISHED"], True
        most = min(PAGE, NEWEST * len(signatures))
        page = self._page(FINISHED_CELL, most, "DESC")
        return list(page), len(page) < most

    def _is_whole(self, run: "Run") -> bool:
        return self._is_sound(run) and self._says_whole(run, self._lost_file(run))

    def _lost_file(self, run: "Run") -> str:
        return self._lost(run.info.run_id, run.info.artifact_uri)

    def _lost(self, run_id: str, place: str) -> str:
        return query(lambda: lost_file(self.client, run_id, place))

    def ask_for_each(self, ask: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Answers in the order of the items; a server is asked for several at a time, as most of a question is waiting.

        After an error no further ones are asked, and it is raised.
        """
        if len(items) < 2 or not self.client.tracking_uri.startswith("http"):
            return list(map(ask, items))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, items))

    def _says_whole(self, run: "Run", lost: str) -> bool:
        """Whether no file is lost; if one is, that is said."""
        if lost:
            why = f"{lost} is missing or empty, so its cell counts as not trained"
            self._leave_out(run, f"run {run.info.run_id}: {why}")
        return not lost

    def open_cells(self, sweep: str) -> list["Run"]:
        """Those of `cells` that have not ended."""
        return self._search(f"attributes.status = 'RUNNING' and {of_sweep(sweep)}")

    def orphaned_runs(self) -> list["Run"]:
        """The runs that are RUNNING though nobody trains them any more.

        Their process is certainly dead, has long been silent on another host, or does not know where the project is.
        """
        open_runs = self._search("attributes.status = 'RUNNING'", of_any_form=True)
        gone = (is_dead, claims.is_abandoned, lambda tags: places.MOVED in tags)
        return [run for run in open_runs if any(ask(run.data.tags) for ask in gone)]

    def claimed_cells(self) -> dict[str, "Run"]:
        """Signature -> the open run of a cell that a process trains, or trained until it died."""
        found = self._search("attributes.status = 'RUNNING' and tags.kind = 'cell'")
        return {run.data.tags["signature"]: run for run in found if claims.is_claim(run)}

    def has_ended(self, run: "Run") -> bool:
        """Whether the run has ended, or its process certainly has."""
        return run.info.status != "RUNNING" or places.MOVED in run.data.tags or is_dead(run.data.tags)

    def has_file(self, run_id: str, path: str) -> bool:
        """Whether a file is among a run's artifacts."""
        folder = path.rpartition("/")[0] or None
        listed = query(lambda: self.client.list_artifacts(run_id, folder))
        return any(item.path == path and not item.is_dir for item in listed)

    def download(self, run: "Run", path: str, to: Path) -> Path:
        """One of a run's files, only to be read: the original if it is here, else a copy in a folder, which is made."""
        folder = path_of(run.info.artifact_uri)
        if folder and os.path.isfile(own := Path(folder, path)):
            return own
        return Path(query(lambda: self._download(run, path, to)))

    def _download(self, run: "Run", path: str, to: Path) -> str:
        """From the place that the run names: given its id, MLflow asks the store again, for the run and its models.

        Raises UnreachableError if the file is listed: MLflow calls the path wrong whatever made a download fail; else
        RefusedError.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        to.mkdir(exist_ok=True)
        run_id, uri = run.info.run_id, f"{run.info.artifact_uri}/{path}"
        try:
            return download_artifacts(artifact_uri=uri, dst_path=str(to), tracking_uri=self.client.tracking_uri)
        except (MlflowException, OSError) as error:
            connection.check_room(to, error)
        try:
            return self.client.download_artifacts(run_id, path, str(to))
        except MlflowException as error:
            if self.has_file(run_id, path):
                raise UnreachableError(reason(error)) from error
            raise RefusedError(reason(error)) from error


def sweep_tag(sweep: str) -> str:
    """The tag that makes a cell part of a sweep, if "yes": one for each sweep, as a finished cell may serve several."""
    return f"sweep.{sweep}"


def is_id(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{ID_LENGTH}}}", text) is not None


def of_sweep(sweep: str) -> str:
    return f"tags.`{sweep_tag(sweep)}` = 'yes'"
