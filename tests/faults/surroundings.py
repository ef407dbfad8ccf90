"""Odd surroundings: streams that cannot be written to, signals of a terminal, names of folders, a user without a name.

A sweep goes on in all of them, and its exit code says whether the store has what was trained.
"""

import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

from . import sabotage
from .commands import Command, environment
from .commands_fail import INTERRUPTS, _ended_in_order, small_disk
from .fault import fault
from .openings import CELL
from .records import Tally
from .servers import Site
from .trial import SWEEP, ServerTrial, Trial

INTERRUPTS |= {signal.SIGHUP: 129}
HARNESS = f"{shlex.quote(sys.executable)} -m harness"


def _shell(trial: Trial, line: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, in which $HARNESS stands for the command and "$@" for the words."""
    command = ["bash", "-c", line.replace("$HARNESS", HARNESS), "bash", *words]
    options = {"capture_output": True, "text": True, "errors": "replace", "timeout": 120}
    done = subprocess.run(command, cwd=trial.folder, env=environment(**environ), **options)
    trial.printed.append(done.stdout + done.stderr)
    return done


def _trained(trial: Trial, line: str, *words: str) -> Tally:
    """The whole sweep, with its streams as the line has them: it is trained, and the exit code is 0."""
    done = _shell(trial.with_store(), line, *(words or SWEEP))
    trial.expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr}")
    return trial.compared()


@fault("standard streams that are closed")
def streams_closed(trial: Trial) -> Tally:
    return _trained(trial, '$HARNESS "$@" ' + trial.rng.choice(["2>&-", ">&-", "<&- >&- 2>&-"]))


@fault("messages that go to a full disk, or to a reader that ends")
def messages_unread(trial: Trial) -> Tally:
    return _trained(
        trial, trial.rng.choice(['$HARNESS "$@" 2>/dev/full', 'set -o pipefail; $HARNESS "$@" 2>&1 | true'])
    )


@fault("an answer that goes to a full disk")
def answer_to_a_full_disk(trial: Trial) -> Tally:
    """Told in one line, with exit code 1."""
    words = trial.rng.choice([["--help"], ["--version"], [*CELL, "dry_run=true"], ["studies"]])
    done = _shell(trial.with_store(), '$HARNESS "$@" >/dev/full', *words)
    trial.expect(done.returncode == 1, f"exit code {done.returncode}")
    trial.expect(done.stderr == "harness: standard output: No space left on device\n", done.stderr)
    return _cells(trial, trial.folder, 0)


@fault("the reader of an answer ends after its first line")
def reader_ends(trial: Trial) -> Tally:
    words = trial.rng.choice([["--help"], ["--cfg", "job"], ["--info"], ["--hydra-help"], ["studies"], ["deliver"]])
    done = _shell(trial.with_store(), 'set -o pipefail; $HARNESS "$@" | head -1', *words)
    trial.expect(done.returncode == 0, f"exit code {done.returncode}")
    trial.expect(len((done.stdout + done.stderr).splitlines()) == 1, done.stdout + done.stderr)
    return _cells(trial, trial.folder, 0)


@fault("an encoding without η")
def encoding_without_eta(trial: Trial) -> Tally:
    where = trial.rng.choice(
        [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
    )
    line = '$HARNESS "$@" dry_run=true && $HARNESS "$@"'
    done = _shell(trial.with_store(), line, *CELL, PYTHONCOERCECLOCALE="0", **where)
    trial.expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr}")
    trial.expect("iris B=64 eta=0.1 mean" in done.stdout, done.stdout)
    return _cells(trial, trial.folder, 1)


def _cells(trial: Trial, folder: Path, wanted: int) -> Tally:
    """So many cells are finished in the store that `mlflow ui` finds in this folder, and their files are below it."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        ((finished,),) = database.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'")
        ((running,),) = database.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'")
    tables = len(list(folder.glob("mlruns/1/*/artifacts/history.csv")))
    trial.expect(tables == wanted, f"{tables} tables of {wanted} cells below mlruns")
    return Tally(1, wanted - finished, running=running, identical=1, complaints=trial.complaints)


# Signals


@fault("SIGHUP: the terminal is closed")
def sighup(trial: Trial) -> Tally:
    command = trial.with_store().struck(lambda command: command.signal(signal.SIGHUP))
    return _ended_in_order(trial, command, signal.SIGHUP)


@fault("SIGHUP after nohup: the sweep goes on")
def sighup_ignored(trial: Trial) -> Tally:
    command = trial.with_store().start(sabotage=sabotage.by_ignoring_hangups)
    trial.wait_for_points(command)
    command.signal(signal.SIGHUP)
    code = command.wait()
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    return trial.compared()


@fault("Ctrl-C while the libraries are being imported, once or twice")
def sigint_at_start(trial: Trial) -> Tally:
    """Python itself, before its first line of the harness, is left out: it takes about a tenth of a second."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", "import harness.__main__ as m; print(flush=True); exit(m.main())", *SWEEP]
    trial.with_store()
    with subprocess.Popen(command, cwd=trial.folder, env=environment(), **streams) as process:
        process.stdout.readline()
        time.sleep(trial.rng.uniform(0.01, 2.0))
        for _ in range(trial.rng.choice([1, 2])):
            process.send_signal(signal.SIGINT)
            time.sleep(trial.rng.uniform(0, 0.1))
        _, told = process.communicate(timeout=60)
    as_in_a_shell = {-signal.SIGINT: 130}.get(process.returncode, process.returncode)  # the second, in Python's own end
    trial.expect(as_in_a_shell == 130, f"exit code {process.returncode}: {told}")
    trial.printed.append(told)
    trial.nothing_runs()
    return trial.again()


STOPPED = 4.0  # seconds


@fault("Ctrl-Z while training, later fg: the time between is no training time")
def stopped(trial: Trial) -> Tally:
    words = ("dataset=digits", "batch_size=1", "seeds=1", "epochs=60", "diagnostics=off")
    command = trial.with_store().start(*words)
    trial.wait_for_points(command)
    begun = time.monotonic()
    command.signal(signal.SIGSTOP)
    time.sleep(STOPPED)
    command.signal(signal.SIGCONT)
    code = command.wait()
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    (cell,) = trial.records().cells
    seconds = [value for key, _, value in cell.points if key == "progress/train_seconds"]
    longest = max(b - a for a, b in pairwise(seconds))
    trial.expect(longest < STOPPED / 2, f"{longest:.1f} s of training between two checkpoints")
    trial.expect(time.monotonic() - begun > STOPPED, "it was not stopped")
    return _cells(trial, trial.folder, 1)


# Places and users


@fault("a folder for temporary files that is full")
def full_temporary_folder(trial: Trial) -> Tally:
    """Neither training nor reading runs of this machine needs one."""
    with _full_folder(trial.with_store()) as full:
        command = trial.start(TMPDIR=full)
        trial.expect(command.wait() == 0, f"exit code {command.code}: {command.stderr}")
        verify = trial.start("verify", trial.records().parents[-1].run_id, TMPDIR=full)
        trial.expect(verify.wait(30) == 0, f"verify: exit code {verify.code}: {verify.stderr}")
    return trial.again()


@fault("a folder for temporary files that is full, beside a server", group="server")
def full_temporary_folder_beside_a_server(trial: ServerTrial, site: Site) -> Tally:
    """Training needs none; what reads runs says so, and does not wait for the store as if it were away."""
    trial.connect(site)
    with _full_folder(trial) as full:
        command = trial.start(TMPDIR=full)
        told = "temporary files: expected a disk with room"
        trial.expect(command.wait() == 1, f"exit code {command.code}: {command.stderr}")
        trial.expect("3 of 3 cells trained" in command.stderr, f"not trained: {command.stderr}")
        trial.expect(f"tries again): {told}" in command.stderr, f"not told: {command.stderr}")
        verify = trial.start("verify", trial.records().parents[-1].run_id, TMPDIR=full)
        trial.expect(verify.wait(60) == 1, f"verify: exit code {verify.code}: {verify.stderr}")
        trial.expect(verify.stderr.count(told) == 3, f"not told for each cell: {verify.stderr}")
    tally = trial.again()
    tally.complaints = [one for one in tally.complaints if not one.endswith("(FAILED) has no report")]
    return tally


@contextmanager
def _full_folder(trial: Trial) -> Iterator[str]:
    small = trial.folder / "small"
    small.mkdir()
    with small_disk(small, 1 / 64):
        yield str(small)


@fault("the clock is set back by a month, or forward by a day, in the middle of a sweep")
def clock_set(trial: Trial) -> Tally:
    """Nothing trains again, and what was trained can be packed."""
    change = sabotage.ClockSet(trial.rng.choice([-30 * 86400.0, 86400.0]), trial.rng.randrange(600))
    command = trial.with_store().start(sabotage=change)
    trial.expect(command.wait() == 0, f"exit code {command.code}: {command.stderr}")
    trial.nothing_runs()
    trial.witness()
    packed = trial.start("pack", "-o", "runs.zip")
    trial.expect(packed.wait() == 0, f"pack: exit code {packed.code}: {packed.stderr}")
    tally = trial.again()
    tally.complaints += [] if len(trial.records().cells) == 3 else ["a finished cell was trained again"]
    return tally


@fault("folders whose names hold signs that addresses use, blanks, quotes, letters with accents")
def folder_names(trial: Trial) -> Tally:
    """Twice: the second start finds the cell. Nothing is written beside the folder."""
    folder = trial.folder / trial.rng.choice(
        ["a?b", "a#b", "a%41b", "a b", "a'b", 'a"b', "é", "$HOME", "a&b=c;d", "[a]{b}"]
    )
    folder.mkdir()
    for told in ("Browse", "Trained already"):
        command = Command(folder, CELL, environment())
        code = command.wait()
        trial.expect(code == 0 and told in command.stderr, f"exit code {code}: {command.stderr}")
    others = [path.name for path in trial.folder.iterdir() if path != folder and not path.name.startswith("stderr")]
    trial.expect(not others, f"beside the folder: {others}")
    return _cells(trial, folder, 1)


@fault("a container: a user without a name, HOME and a folder for temporary files")
def nameless(trial: Trial) -> Tally:
    command = trial.with_store().start(sabotage=sabotage.by_forgetting_the_user)
    code = command.wait()
    trial.expect(code == 0, f"exit code {code}: {command.stderr}")
    return trial.compared()
