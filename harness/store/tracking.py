"""The tracking store: starts runs, delivers the journals of processes that died, answers queries about runs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.store import claims, connection, hosts, opening, places
from harness.store.bulk import Bulk
from harness.store.connection import RefusedError, UnreachableError, query, reason
from harness.store.delivery import end_provisionally
from harness.store.journal import Journal
from harness.store.outage import OUTAGE_SECONDS
from harness.store.pages import UI, report_place
from harness.store.processes import described, process_tags
from harness.store.searching import FEW, Runs, of_sweep, sweep_tag
from harness.store.writer import REFUSAL_SECONDS, RunWriter

if TYPE_CHECKING:
    from mlflow.entities import Run

    from harness.store.client import Client

ORIGIN = "origin"  # tag of an unpacked run: its id in the store that trained it
REPORT = "report.html"  # of a sweep


class Delivery(NamedTuple):
    """Numbers of runs whose journals were sent, and that wait for a store which is away, for `reason`.

    refused: why, for each operation that the store did not take. refused_runs: their ids, "" of a run without one.
    unreadable: a sentence for each journal that cannot be read.
    """

    n_runs: int
    n_waiting: int
    reason: str
    refused: Sequence[str] = ()
    refused_runs: frozenset[str] = frozenset()
    unreadable: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not (self.n_waiting or self.refused or self.unreadable)


class Store(Runs):
    """An open tracking store and the experiment that runs go to. undelivered: the folder of the journals."""

    def __init__(self, client: "Client", experiment_id: str, undelivered: Path) -> None:
        super().__init__(client, experiment_id)
        self.undelivered = undelivered
        self._before: RunWriter | None = None  # of the run that was started last

    @classmethod
    def open(cls, experiment_id: str | None = None) -> "Store":
        """Open or create the store of the current folder or of MLFLOW_TRACKING_URI; see `connection.connect`."""
        return cls(*connection.connect(experiment_id), Path.cwd() / opening.RUNS / "undelivered")

    @classmethod
    def open_to_read(cls) -> "Store":
        """Open a store that exists, to read from it. Raises ConfigError when there is none, or it does not answer."""
        return cls(*connection.connect_to_read(), Path.cwd() / opening.RUNS / "undelivered")

    def check_library(self) -> None:
        """Raises ConfigError where no cell could hand in its files, as a library is missing."""
        experiment = query(lambda: self.client.get_experiment(self.experiment_id))
        hosts.check_library(f"experiment {experiment.name}", experiment.artifact_location or "")

    @property
    def ui(self) -> UI:
        """Links to the pages of the experiment."""
        return UI(self.uri, self.experiment_id)

    def report_of(self, run_id: str) -> str:
        """Where the report of a sweep is, for people; empty if the run has none."""
        with suppress(Exception):  # whatever a store of artifacts raises: a command ends without this line, too
            if any(item.path == REPORT for item in self.client.list_artifacts(run_id)):
                return report_place(self.ui, self.client.get_run(run_id), REPORT)
        return ""

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None, claim: bool = False) -> RunWriter:
        """A new run; inside a sweep, below its parent.

        claim: on the cell of the tag `signature`; raises TakenError if another process trains it or has finished it.
        While the store is away there are no claims: the cell is trained, and `claims.finish` looks for others.
        """
        claimed = {claims.CLAIM: claims.WANTED, "claimed": claims.clock()} if claim else {}
        state = {"store": self.uri, "ended": False, **claimed}
        self._before = writer = RunWriter(Journal.create(self.undelivered, **state), self.client, before=self._before)
        own = {**connection.run_tags(parent), **process_tags(), claims.HEARTBEAT: claims.heartbeat()}
        try:
            writer.create(self.experiment_id, name, {**own, **tags})
            if claim:
                writer.claim(self.experiment_id, tags["signature"])
        except BaseException as error:  # a signal that came meanwhile: the run may exist, and must end
            writer.__exit__(type(error), error, error.__traceback__)
            raise
        return writer

    def heartbeat(self, run: RunWriter | str) -> claims.Heartbeat:
        """A context in which a thread shows that the process of this run, or of a run with this id, is alive."""
        return claims.Heartbeat(self.client, {"run_id": run} if isinstance(run, str) else run.journal.state)

    @contextmanager
    def attach(self, run_id: str) -> Iterator[RunWriter]:
        """A writer for a run that exists; at the end it delivers what was written, if the store answers in time."""
        journal = Journal.create(self.undelivered, store=self.uri, run_id=run_id, ended=True)
        with RunWriter(journal, self.client) as writer:
            try:
                yield writer
            finally:
                writer.deliver(OUTAGE_SECONDS)

    def mark_killed(self, run: "Run") -> None:
        """End a run as KILLED in place of its process, which is dead or does not answer.

        It may have ended between the search that found it open and its death: asked again, nothing changes any more.
        """
        if query(lambda: self.client.get_run(run.info.run_id)).info.status != "RUNNING":
            return
        with self.attach(run.info.run_id) as writer:
            writer.finish("KILLED", outcome=claims.KILLED, **{claims.CLOSED_BY: described(process_tags())})

    def add_to_sweep(self, run_id: str, sweep: str) -> None:
        """Make a finished cell part of another sweep."""
        query(lambda: self.client.set_tag(run_id, sweep_tag(sweep), "yes"))

    def add_all_to_sweep(self, run_ids: Sequence[str], sweep: str) -> None:
        """The same for many, in one transaction where the store is a SQLite database."""
        if len(run_ids) > FEW and (tables := Bulk.of(self.client.tracking_uri)):
            tables.tag(run_ids, sweep_tag(sweep), "yes")
            return
        self.ask_for_each(lambda run_id: self.add_to_sweep(run_id, sweep), run_ids)

    def save_view(self, sweep: str, columns: Sequence[str], order_by: str) -> None:
        """Save what the UI shows of a sweep: its cells as flat rows with these columns, best first."""
        tag = connection.view_tag(sweep, of_sweep(sweep), columns, order_by)
        query(lambda: self.client.set_experiment_tag(self.experiment_id, *tag))

    def describe(self, markdown: str, unless_not: str) -> None:
        """Set the description of the experiment, unless one begins otherwise: a user has written it."""
        ((key, text),) = connection.note_tags(markdown).items()
        own = query(lambda: self.client.get_experiment(self.experiment_id)).tags
        if own.get(key, unless_not).startswith(unless_not):
            query(lambda: self.client.set_experiment_tag(self.experiment_id, key, text))

    def deliver_waiting(self, wait_seconds: float = 0.0) -> Delivery:
        """Deliver the journals that no process holds, but for what the store refuses; end their open runs as KILLED."""
        n_runs, n_waiting, why, away, spent = 0, 0, "", False, 0.0  # spent: seconds on journals that are left
        refused, runs, unreadable = list[str](), set[str](), list[str]()
        for journal in Journal.abandoned(self.undelivered, unreadable):
            begun, left = time.monotonic(), wait_seconds - spent
            if not self._owns(str(journal.state.get("store"))):
                continue
            if away and left <= 0:  # another attempt would only take time
                n_waiting += 1
                continue
            try:
                self._deliver_rest(journal, left, REFUSAL_SECONDS - spent)
                n_runs += 1
                if journal.held and not journal.hopeless():
                    refused += [one.reason for one in journal.held if one.kind != "finish"] or [journal.held[0].reason]
                    runs.add(journal.state["run_id"] or "")
            except RefusedError as error:  # the run cannot even be created
                refused.append(str(error))
                runs.add("")
            except (UnreachableError, OSError) as error:  # OSError: the disk is full
                n_waiting, why, away = n_waiting + 1, reason(error), True
            spent += time.monotonic() - begun if journal.waiting_bytes else 0.0
        return Delivery(n_runs, n_waiting, why, refused, frozenset(runs), unreadable)

    def _owns(self, address: str) -> bool:
        """Whether a journal was written for this store, here or in a folder in which the project was before."""
        if address == self.uri or not (address.startswith("sqlite:") and self.uri.startswith("sqlite:")):
            return address == self.uri
        experiment = query(lambda: self.client.get_experiment(self.experiment_id))
        former = places.former_folders(experiment.tags.get(places.FORMER, ""))
        return any(places.names_store_of(address, folder) for folder in former)

    def _deliver_rest(self, journal: Journal, wait_seconds: float, refusal_seconds: float) -> None:
        """Deliver a journal in place of its process. Raises UnreachableError."""
        if not (journal.waiting_bytes or journal.state["run_id"]):
            return  # its process died before the first line: there is no run
        writer = RunWriter(journal, self.client, training=False)
        if not (journal.state.get("ended") or any(operation.kind == "finish" for operation in journal.pending())):
            writer.finish("KILLED", outcome="killed")
        journal.state["ended"] = True  # its end may be sent now, while something else is held
        writer.deliver(wait_seconds, refusal_seconds)
        if writer.unreachable:
            raise writer.unreachable
        if journal.held:
            end_provisionally(self.client, journal)

    def create_as(self, origin: str, name: str, start: int) -> str:
        """The id of an open run that is being unpacked: a new one, or one that an unpacking which ended early left.

        It has no tag `kind` until it is whole, so nothing counts it; as its process is known, a later start closes it.
        """
        tags = {**connection.run_tags(None), **process_tags(), ORIGIN: origin}

        def find_or_create() -> "Run":
            same = self.client.search_runs([self.experiment_id], f"tags.{ORIGIN} = '{origin}'")
            begun = [run for run in same if "kind" not in run.data.tags]
            return begun[0] if begun else self.client.create_run(self.experiment_id, start, tags, name)

        return str(query(find_or_create).info.run_id)
