"""Writes one run: every operation goes to the run's journal first, then to MLflow, which may be away.

Training does not wait for the store: what cannot be delivered is tried again, with growing pauses. See
`delivery` for what is refused by a store that is there.
"""

import json
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import visible
from harness.store import claims, connection
from harness.store.connection import UnreachableError, reason
from harness.store.delivery import TRAINING_TIMEOUT, send, send_whole
from harness.store.interrupts import INTERRUPTS, Interrupted
from harness.store.journal import Journal
from harness.store.outage import OUTAGE
from harness.store.redaction import redacted

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.client import Client

FLUSH_SECONDS = 2.0  # between deliveries
AT_ONCE = ("create", "finish")  # kinds of operations that wait for no others: who looks sees a run that is open, or not
MAX_DIGEST, MAX_DATASET, MAX_SOURCE = 36, 500, 65_535  # characters of a dataset's digest, name, source; as MLflow has
MAX_NAME = 250  # characters of a run's name that a database of MLflow keeps
PAUSE_SECONDS = (1.0, 30.0)  # between attempts while the store is away: the first, doubled up to the last, ...
PAUSE_PER_ATTEMPT = 4  # ... and at least so many times as long as the last attempt took, as a store may hang
# Seconds that the end of a sweep waits for what is refused while the rest is taken. A server that restarts, or a token
# that is renewed, needs less; more would not help, as nothing is given up: the next start tries again.
REFUSAL_SECONDS = 20.0


class RunWriter:
    """Writes one run through its journal. As a context manager it ends the run: FINISHED, FAILED or KILLED.

    training: it waits, so a request has less time. before: wrote the run before this one; if the store kept it waiting
    for nothing, this one does not ask at once. seconds: wall time spent in here. unreachable: why the last attempt to
    deliver failed, if it did.
    """

    def __init__(
        self, journal: Journal, client: "Client", training: bool = True, before: "RunWriter | None" = None
    ) -> None:
        self.journal, self._client, self._training = journal, client, training
        self.seconds = 0.0
        self.unreachable: UnreachableError | None = None
        self._pause, self._next_attempt, self._delivered_at = 0.0, 0.0, time.monotonic()
        self._rest = 0.0  # the time until which a store that hung is not asked, by this run or the next
        if before and before.unreachable:
            self.unreachable, self._rest, self._next_attempt = before.unreachable, before._rest, before._rest

    @property
    def run_id(self) -> str | None:
        """None until the store has created the run."""
        return self.journal.state["run_id"]

    @property
    def trouble(self) -> str:
        """Why something waits: the store is away or refuses a part. Empty if nothing does."""
        if self.unreachable:
            return f"the store does not answer ({self.unreachable})"
        return f"the store refuses {self.journal.held[0].reason}" if self.journal.held else ""

    @property
    def taken(self) -> bool:
        """Whether the run ended as KILLED, because another process trains its cell or has finished it."""
        return bool(self.journal.state.get("taken"))

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """A signal that comes meanwhile waits until the end is written: no other process would write it soon."""
        with INTERRUPTS.deferred():
            try:
                if not self.journal.state["ended"]:
                    self._end_with(error) if error else self.finish("FINISHED")
            except Exception as failed:  # the disk is full: a finished run has all its points
                self._end_with(failed)
                raise
            finally:
                self.journal.release()

    def leave_running(self) -> None:
        """Do not end the run when this writer closes: another writer will."""
        self.journal.state["ended"] = True

    def _end_with(self, error: BaseException) -> None:
        """Write what disk and store take; raises nothing, so that the caller sees `error` and no other."""
        if isinstance(error, Interrupted | KeyboardInterrupt):
            status, tags = "KILLED", {"outcome": "killed"}
        elif isinstance(error, claims.TakenError):
            status, tags = "KILLED", {"outcome": "superseded"}
        else:
            status, tags = "FAILED", {"outcome": "failed", "error": redacted(f"{type(error).__name__}: {error}")[:500]}
            with suppress(Exception):
                self.traceback(error)
        with suppress(Exception):
            self.tags(tags)
        with suppress(Exception):
            self.finish(status)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time spent inside to `seconds`; a signal waits until the write is done."""
        start = time.perf_counter()
        with INTERRUPTS.deferred():
            yield
            self.seconds += time.perf_counter() - start

    def create(self, experiment: str, name: str, tags: Mapping[str, str]) -> None:
        """The first operation of a new run."""
        self._write("create", experiment=experiment, name=_clean_name(name)[:MAX_NAME], tags=_clean(tags), time=_now())

    def claim(self, experiment: str, signature: str) -> None:
        """After `create`: raises TakenError if another process trains this cell, or has finished it."""
        with self.timed():
            won = self._acquire(experiment, signature)
            self.journal.state[claims.CLAIM] = claims.NONE if won is None else claims.HELD
            if won is False:
                self.journal.state["ended"] = claims.try_to_delete(self._client, str(self.run_id))
                raise claims.TakenError
        if won is None:
            self.tags({claims.CLAIM: claims.NONE})

    def _acquire(self, experiment: str, signature: str) -> bool | None:
        """None: the store is away, or does not answer the question."""
        from mlflow.exceptions import MlflowException

        if self.run_id:
            begun, timeout = time.monotonic(), connection.request_timeout(TRAINING_TIMEOUT)
            try:
                with timeout:
                    return claims.acquire(self._client, experiment, signature, self.run_id)
            except (MlflowException, OSError) as error:
                self.unreachable = UnreachableError(reason(error))
                self._pause_after(begun)
        return None

    def params(self, params: Mapping[str, Any]) -> None:
        """What was asked for: written once, it cannot be changed."""
        self._write("params", params=_clean(params))

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""
        if claims.OUTCOME in tags:
            self.journal.state[claims.OUTCOME] = tags[claims.OUTCOME]
        self._write("tags", tags=_clean(tags))

    def points(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics at a step; values that are not finite are left out."""
        now = _now()
        points = [[key, float(value), now, step] for key, value in metrics.items() if np.isfinite(value)]
        self._write("points", points=points)

    def traceback(self, error: BaseException) -> None:
        """The error's traceback as an artifact, without secrets."""
        with self.files() as folder:
            text = redacted("".join(traceback.format_exception(error)))
            (folder / "traceback.txt").write_text(text, encoding="utf8")

    @contextmanager
    def files(self) -> Iterator[Path]:
        """A folder; the files in it become artifacts when the context ends without an exception."""
        with self.timed():
            folder = self.journal.new_folder()
            yield folder
            self.journal.append("files", folder=folder.name)
            self._deliver_if_due()

    def table(self, path: str, table: "pd.DataFrame") -> None:
        """A table as an artifact that the UI can show and compare between runs."""
        with self.files() as folder:
            table.to_json(folder / path, orient="split", index=False)
        self.tags(connection.table_tags(path))

    def dataset(self, name: str, digest: str, source: Mapping[str, Any], rows: int, inputs: int) -> None:
        """Name and digest of the data, as MLflow's own dataset record."""
        origin, profile = redacted(json.dumps({"tags": source})), json.dumps({"num_rows": rows, "num_inputs": inputs})
        name = _clean_name(name)[:MAX_DATASET]
        self._write("dataset", name=name, digest=digest[:MAX_DIGEST], source=origin[:MAX_SOURCE], profile=profile)

    def finish(self, status: str, **tags: str) -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        if self.journal.n_dropped:
            tags["points_left_out"] = str(self.journal.n_dropped)
        if tags:
            self.tags(tags)
        if status == "FINISHED":  # what a mistake in a program does not let pass shows before the end is written
            with self.timed():
                self._try_to_deliver()
        self.journal.state["ended"] = True
        self._write("finish", status=status, time=_now())

    def deliver(self, wait_seconds: float = 0.0, refusal_seconds: float = REFUSAL_SECONDS) -> bool:
        """Deliver what waits, trying again for so many seconds, and for fewer in an `Outage` in which the process has
        waited before, or if a part is refused and nothing moves.

        Returns whether the store is there: all is delivered but for what it refuses.
        """
        begun = moved = time.monotonic()
        while True:
            self._next_attempt, before = 0.0, self.journal.n_left()
            with self.timed():
                self._try_to_deliver()
            moved = moved if self.journal.n_left() == before else time.monotonic()
            left = begun + wait_seconds - time.monotonic()
            if self.unreachable:
                left = min(left, OUTAGE.left(begun))
            else:
                OUTAGE.ends()
                left = min(left, moved + refusal_seconds - time.monotonic())
            if left <= 0 or not (self.unreachable or self.journal.held):
                return self.unreachable is None
            time.sleep(min(PAUSE_SECONDS[0], left))

    def _write(self, kind: str, **content: Any) -> None:
        with self.timed():
            self.journal.append(kind, **content)
            if kind in AT_ONCE:
                self._try_to_deliver()
            else:
                self._deliver_if_due()

    def flush(self) -> None:
        """Deliver what waits if FLUSH_SECONDS have passed: to be called while nothing is written."""
        with self.timed():
            self._deliver_if_due()

    def _deliver_if_due(self) -> None:
        """A request costs a store some milliseconds whatever is in it, so operations wait for others to go with."""
        if self.journal.waiting_bytes and time.monotonic() - self._delivered_at > FLUSH_SECONDS:
            self._try_to_deliver()

    def _try_to_deliver(self) -> None:
        """Deliver what waits, unless the store was away or refused a part a moment ago."""
        if (begun := time.monotonic()) < self._next_attempt:
            return
        try:
            self.journal.deliver(
                lambda operations: send(self._client, self.journal, operations, self._training),
                partial(send_whole, self._client, self.journal) if self._client.has_tables else None,
            )
            self.unreachable = None
        except UnreachableError as away:
            self.unreachable = away
        except OSError as error:  # the disk is full, or too many files are open
            self.unreachable = UnreachableError(reason(error))
        self._pause_after(begun)

    def _pause_after(self, begun: float) -> None:
        """Until the next attempt, if the last one, which began then, has left something."""
        now = self._delivered_at = time.monotonic()
        if self.trouble:
            least, most = PAUSE_SECONDS
            rest = min(PAUSE_PER_ATTEMPT * (now - begun), most)
            self._pause = float(np.clip(2 * self._pause, max(rest, least), most))
            self._rest, self._next_attempt = now + rest, now + self._pause
        else:
            self._pause = 0.0


def _clean(texts: Mapping[str, Any]) -> dict[str, str]:
    environ = dict(os.environ)  # read once, as that takes longer than to look for its secrets in a short text
    return {key: _clean_text(str(value), environ) for key, value in texts.items()}


def _clean_name(text: str) -> str:
    """Without secrets, in one line."""
    return visible(redacted(text))


def _clean_text(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Without secrets, and without signs that a database cannot hold."""
    return visible(redacted(text, environ), kept="\n\t")


def _now() -> int:
    return int(time.time() * 1000)  # milliseconds since 1970, as MLflow counts
