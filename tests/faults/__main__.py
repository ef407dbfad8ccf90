"""`python -m tests.faults`: try every fault at random moments and write docs/reliability.md."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path
from threading import Lock

from .catalogue import FAULTS, Laboratory, NotHere
from .commands import ROOT
from .records import Tally
from .servers import why_not
from .trial import Reference

PAGE = ROOT / "docs" / "reliability.md"
LANES = {False: 2, True: 3}  # trials at once: without servers, and with; the latter wait most of the time
PACKAGES = ("mlflow", "SQLAlchemy", "hydra-core", "joblib", "numpy")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each fault is tried (default 3)")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="this fault; writes no page")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the random moments")
    options = parser.parse_args()
    _restore_signals()
    print(f"seed {options.seed}", flush=True)
    trials = [(name, options.seed + n) for n in range(options.rounds) for name in options.only or FAULTS]
    results, folder = Results(options.seed), Path(tempfile.mkdtemp(prefix="faults-"))
    reference = Reference.make(folder / "reference")  # alone, as its duration matters

    def try_all(lane: tuple[int, Iterator[tuple[str, int]]]) -> None:
        number, queue = lane
        laboratory = Laboratory(folder / f"lane {number}", reference)
        try:
            for name, seed in queue:
                results.add(laboratory, name, seed, page=not options.only)
        finally:
            laboratory.close()

    queues = {served: iter([one for one in trials if (FAULTS[one[0]].group == "server") == served]) for served in LANES}
    lanes = [queue for served, queue in queues.items() for _ in range(LANES[served])]  # those of one kind share a queue
    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(try_all, enumerate(lanes)))
    if results.good:
        shutil.rmtree(folder)
    return int(not results.good)


def _restore_signals() -> None:
    """A shell that starts this in the background has it ignore these; the commands that it starts would, too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Results:
    """The results of the trials by fault, and the page with them."""

    def __init__(self, seed: int) -> None:
        self.seed, self.started = seed, time.monotonic()
        self.tallies: dict[str, Tally] = {}
        self.skipped: dict[str, str] = {}
        self._lock = Lock()

    @property
    def good(self) -> bool:
        return all(tally.good for tally in self.tallies.values())

    def add(self, laboratory: Laboratory, name: str, seed: int, page: bool) -> None:
        """Try a fault once more, unless this machine does not allow it; write the page, as it may be stopped."""
        fault, started = FAULTS[name], time.monotonic()
        if fault.group == "server" and (missing := why_not()):
            self.skipped[name] = missing
        if name in self.skipped:
            return
        try:
            tally = laboratory.attempt(fault, seed)
        except NotHere as reason:
            self.skipped[name] = str(reason)
            return
        except Exception as error:  # printed on the page; the other faults are tried
            tally = Tally(tried=1, complaints=[f"{type(error).__name__}: {error}"])
        with self._lock:
            self.tallies[name] = self.tallies.get(name, Tally()) + tally
            if page:
                PAGE.write_text(self.page(), encoding="utf8")
        print(f"{time.monotonic() - started:6.1f} s  {name}  {'good' if tally.good else 'BAD'}", flush=True)
        if not tally.good:
            print(tally, file=sys.stderr, flush=True)

    def page(self) -> str:
        tallies = {FAULTS[name].title: self.tallies[name] for name in FAULTS if name in self.tallies}
        total = sum(tallies.values(), Tally())
        rows = [_row(title, tally) for title, tally in [*tallies.items(), ("**together**", total)]]
        bad = [f"- {title}: {text}" for title, tally in tallies.items() for text in tally.complaints]
        left_out = [f"- {FAULTS[name].title}: {reason}" for name, reason in self.skipped.items()]
        packages = [*PACKAGES, *([] if why_not() else ["psycopg"])]
        versions = ", ".join(f"{package} {version(package)}" for package in packages)
        return TEMPLATE.format(
            summary=f"Kinds of faults: **{len(tallies)}**, trials: **{total.tried}**, runs lost: **{total.runs_lost}**,"
            f" points lost: **{total.points_lost}**, duplicates: **{total.duplicates}**,"
            f" runs left RUNNING: **{total.running}**, tracebacks shown: **{total.tracebacks}**,"
            f" code executed: **{total.executed}**.",
            rows="\n".join(rows),
            others=_section("## Failures", bad) + _section("## Not tried on this machine", left_out),
            how=f"{date.today()}, seed {self.seed}, {(time.monotonic() - self.started) / 60:.0f} min."
            f" Python {platform.python_version()}, {versions}; {platform.system()} {platform.release()},"
            f" {os.cpu_count()} cores.",
        )


def _row(title: str, tally: Tally) -> str:
    numbers = (
        tally.tried,
        tally.runs_lost,
        tally.points_lost,
        tally.duplicates,
        tally.running,
        tally.tracebacks,
        tally.executed,
    )
    return f"| {title} | {' | '.join(map(str, numbers))} | {tally.identical} of {tally.tried} |"


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, "", *lines, "", ""]) if lines else ""


TEMPLATE = """# What a sweep survives

What happens to a sweep if its process is killed, the disk is full, or the server goes away? This page is the result of
trying it. Each fault is applied to a small sweep (three cells on iris) at random moments. Then the same command is run
again, and the store is compared with the store of the same sweep without the fault. {summary}

| fault | tried | runs lost | points lost | duplicates | left RUNNING | tracebacks | code executed | bit-identical |
|---|---|---|---|---|---|---|---|---|
{rows}

What the columns count:

- **runs lost**: cells that have no finished run after the repetition.
- **points lost**: points of a curve that the undisturbed run has and the finished one does not have; and points that
  were in the store or in a journal when a run was killed, and are not in the store afterwards.
- **duplicates**: a second point of a metric at one step, or a second finished run of a cell.
- **left RUNNING**: runs that have no end in the store.
- **tracebacks**: tracebacks that a command shows. If the fault is an error planted in the program itself (the first
  five rows and the one with secrets), one traceback is right and does not count.
- **code executed**: files that planted code would make.
- **bit-identical**: trials in which histories, fingerprints of the weights after every epoch, weights and the table of
  cells are the same, apart from times. If several different sweeps run at once, the points of each run are compared
  with its own table.

Commands are forked from a process that has already imported the libraries, which saves most of the time; workers of
joblib are new processes. Each trial also checks exit codes, the paragraph on stderr, that a traceback is printed once
and kept as an artifact, that every sweep has a report, and that a command that exits by itself leaves no run RUNNING.

```text
python -m tests.faults --rounds 5
```

{how}

{others}What a shared store, a data file, an archive or a server may do to you is in [threat-model.md](threat-model.md).

## Limits

### This machine

- **A power cut costs the points of one second.** The journal of a run is forced to the disk by its first line after
  each second of training, and when the run ends. The files of a run are forced to the disk before its end is written.
  The next start marks an open run KILLED and trains its cell again. If tables or weights of a finished run are empty,
  as older versions may have left them, the run is named and its cell trained again.
- **A full disk** is told in one line on stderr; the run itself may have no room to note it. The next start with room
  marks the run KILLED or FAILED and trains its cell again.
- **A journal that cannot be read** is moved to `mlruns/unreadable`, and one line says so. If its state can be read, its
  readable lines are delivered first. The cell is trained again.
- **A journal holds 32 MB of points** of a run. Further points are counted (tag `points_left_out`) and are not in the
  curves. The tables of the run have them all.
- **A SQLite file that another program locks** holds up training for up to half a minute at a time, of which 20 s are
  the fixed timeout of MLflow.

### A tracking server

- **A store that refuses a part** (parameters, points, artifacts) gets everything else. What it refuses stays in
  `mlruns/undelivered` and is tried again: during training after 1 to 30 s, at the end of a sweep until nothing is taken
  for 20 s, by `python -m harness deliver`, and at each start. Until then the run is FAILED, and the command exits with
  code 1. A parent run without its grid has no answer; after `deliver`, `python -m harness report RUN_ID` writes it.
- **A server that accepts a request and does not answer** holds up training for 5 s at each attempt (10 s for
  an upload), but for a fifth of the time at most. A server that refuses connections does not hold it up.
- **A server that does not answer for more than a minute at the end of a sweep** is given up. The command prints where
  the data is and that `python -m harness deliver` sends it, and exits with code 1.
- **A store that came back empty** does not get the lost runs again. What waits for them is kept, and each start says
  so, until the runs are back or you delete their folders in `mlruns/undelivered`.

### Several commands at once

- **A worker whose parent was killed** finishes its cell. A command that is started meanwhile waits for this cell.
- **Several commands that need the same cells** train each cell once. The run of a cell is a claim on it, and its
  process writes a heartbeat, a tag, every 10 s.
  - If a process dies, a command on the same machine trains its cell at once. If a process is stopped, is on another
    host, or is cut off from the store, others train its cell after 60 s without a heartbeat, by the clock of the
    command that waits. If the first process comes back later, its run ends as KILLED, with outcome `superseded`.
  - A process that lives but does not go on (a deadlock) keeps its claim.
  - With `rerun=all` there are no claims. Two such commands both train, and the newest run counts. A command without it
    takes what they finish.
  - A cell that begins while the store is away has no claim. Two commands may both train it; one of the two runs ends as
    `superseded`. If the other command is still training the cell then, the sweep ends without it and with exit code 1;
    the same command again finds it.
- **A command that is stopped (Ctrl-Z) while it opens the store** holds up others for two minutes. Then they say so and
  end with exit code 2. If it is an `unpack`, others that unpack there wait, and say so.
- **Runs of another host**, or of another container on the same host, are closed as KILLED by the next start once they
  had no heartbeat for 15 minutes. This compares the clocks of two hosts. If the clocks differ by more than 15 minutes,
  runs of living processes are closed, too; they are open again within 10 s, unless somebody has begun their cells
  meanwhile. Runs of older versions have no heartbeat. Another host never closes them, unless the project has moved
  since they began ([travel.md](travel.md)).
- **Two hosts that unpack the same archive onto one server at once** may both add its runs.
"""


if __name__ == "__main__":
    sys.exit(main())
