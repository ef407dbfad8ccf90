"""Writes one run: everything is a line of its journal first, then delivered to the store, which may be away.

While training goes on nobody waits for the store: what cannot be delivered stays in the journal and is tried again,
with growing pauses. As a context manager a RunWriter that started its run ends it on every path: FINISHED, FAILED or
KILLED.
"""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.journal import Journal, Operation
from harness.store.redaction import redacted

if TYPE_CHECKING:
    import pandas as pd

FLUSH_SECONDS = 2.0  # points wait so long for company
PAUSES = (1.0, 30.0)  # seconds between attempts while the store is away: the first, doubled up to the last, ...
SHARE = 4  # ... and so many times as long as the last attempt took, as a store may hang

Send = Callable[[Journal, list[Operation]], None]


def print_traceback(error: BaseException) -> None:
    """On stderr, without secrets."""
    sys.stderr.write(redacted("".join(traceback.format_exception(error))))


class UnreachableError(Exception):
    """The store does not answer, or not sensibly; what it was to be told may be told again later."""


class RunWriter:
    """Writes one run through its journal. `seconds`: wall time spent in here."""

    def __init__(self, journal: Journal, send: Send) -> None:
        self.journal, self._send = journal, send
        self.seconds = 0.0
        self.unreachable: UnreachableError | None = None  # why the last attempt failed
        self._pause, self._next_attempt, self._delivered_at = 0.0, 0.0, time.monotonic()

    @property
    def run_id(self) -> str | None:
        """None as long as the store has not been told of the run."""
        return self.journal.state["run_id"]

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.journal.state["ended"]:
                return
            if error is None:
                self._finish_whole()
            else:
                self._end_with(error)
        finally:
            self.journal.release()

    def _finish_whole(self) -> None:
        """FINISHED, unless the store refuses some of the last words: a finished run has all its points."""
        try:
            self.finish("FINISHED")
        except Exception as refused:
            self._end_with(refused)
            raise

    def _end_with(self, error: BaseException) -> None:
        """As much of it as disk and store take: the caller is to hear of this error and of no other."""
        steps: list[Callable[[], None]]
        if isinstance(error, Interrupted | KeyboardInterrupt):
            steps = [lambda: self.tags({"outcome": "killed"}), lambda: self.finish("KILLED")]
        else:
            told = redacted(f"{type(error).__name__}: {error}")[:500]
            steps = [
                lambda: self.traceback(error),
                lambda: self.tags({"outcome": "failed", "error": told}),
                lambda: self.finish("FAILED"),
            ]
        for step in steps:
            with suppress(Exception):
                step()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time spent inside to `seconds`; a signal waits until the write is done."""
        start = time.perf_counter()
        with INTERRUPTS.deferred():
            yield
            self.seconds += time.perf_counter() - start

    def create(self, experiment: str, name: str, tags: Mapping[str, str]) -> None:
        self._say(
            "create",
            experiment=experiment,
            name=name,
            tags={key: redacted(value) for key, value in tags.items()},
            time=int(time.time() * 1000),
        )

    def params(self, params: Mapping[str, Any]) -> None:
        self._say("params", params={key: redacted(str(value)) for key, value in params.items()})

    def tags(self, tags: Mapping[str, str]) -> None:
        self._say("tags", tags={key: redacted(str(value)) for key, value in tags.items()})

    def note(self, markdown: str) -> None:
        """The description that the UI shows on top of the run."""
        self.tags({"mlflow.note.content": markdown})

    def points(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics at a step; what is not finite is no metric. Delivered in batches."""
        now = int(time.time() * 1000)
        points = [[key, float(value), now, step] for key, value in metrics.items() if np.isfinite(value)]
        with self.timed():
            self.journal.append("points", points=points)
            if time.monotonic() - self._delivered_at > FLUSH_SECONDS:
                self._attempt()

    def text(self, path: str, text: str) -> None:
        """An artifact of text, without secrets."""
        with self.files() as folder:
            (folder / path).write_text(redacted(text), encoding="utf8")

    def traceback(self, error: BaseException) -> None:
        self.text("traceback.txt", "".join(traceback.format_exception(error)))

    @contextmanager
    def files(self) -> Iterator[Path]:
        """A folder; what is in it when the context ends well becomes artifacts."""
        with self.timed():
            folder = self.journal.new_folder()
            yield folder
            self.journal.append("files", folder=folder.name)
            self._attempt()

    def table(self, path: str, table: "pd.DataFrame") -> None:
        """A table that the UI can show and compare between runs: an artifact, and the tag by which MLflow knows it."""
        with self.files() as folder:
            table.to_json(folder / path, orient="split", index=False)
        self.tags({"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])})

    def dataset(self, name: str, digest: str, source: Mapping[str, Any], rows: int, inputs: int) -> None:
        """Name and digest of the data, as MLflow's own dataset record."""
        profile = {"num_rows": rows, "num_inputs": inputs}
        self._say(
            "dataset",
            name=name,
            digest=digest[:36],
            source=redacted(json.dumps({"tags": source})),
            profile=json.dumps(profile),
        )

    def finish(self, status: str) -> None:
        if self.journal.n_dropped:
            self.tags({"points_left_out": str(self.journal.n_dropped)})
        self.journal.state["ended"] = True
        self._say("finish", status=status, time=int(time.time() * 1000))

    def deliver(self, patience: float = 0.0) -> bool:
        """Deliver what waits, trying for so many seconds; whether all is delivered."""
        deadline = time.monotonic() + patience
        while True:
            self._next_attempt = 0.0
            with self.timed():
                self._attempt()
            left = deadline - time.monotonic()
            if self.unreachable is None or left <= 0:
                return self.unreachable is None
            time.sleep(min(PAUSES[0], left))

    def _say(self, kind: str, **content: Any) -> None:
        with self.timed():
            self.journal.append(kind, **content)
            self._attempt()

    def _attempt(self) -> None:
        """Deliver what waits, unless the store was away a moment ago. A refusal by the store is raised."""
        begun = time.monotonic()
        if begun < self._next_attempt:
            return
        try:
            self.journal.deliver(self._send_or_skip)
            self.unreachable, self._pause = None, 0.0
        except UnreachableError as away:
            now, self.unreachable = time.monotonic(), away
            self._pause = min(max(PAUSES[0], 2 * self._pause, SHARE * (now - begun)), PAUSES[1])
            self._next_attempt = now + self._pause
        self._delivered_at = time.monotonic()

    def _send_or_skip(self, operations: list[Operation]) -> None:
        """What the store refuses is said once: trying it again would keep everything behind it waiting for ever."""
        try:
            self._send(self.journal, operations)
        except UnreachableError:
            raise
        except Exception:
            self.journal.cross_off(operations)
            raise
