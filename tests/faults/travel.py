"""Faults of a project that travels: moved, copied, handed in, packed and unpacked, and killed on the way."""

import hashlib
import os
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from . import sabotage
from .commands import Command
from .fault import fault
from .records import Tally
from .servers import Site, now_and_then
from .trial import ServerTrial, Trial

NAMES = ("moved", "with blank", "é", "a#b", "deep/er/folder")


def _killed(trial: Trial) -> Path:
    """A project whose sweep was killed at a random moment; returns its folder."""
    trial.with_store().struck(lambda command: command.signal(signal.SIGKILL))
    trial.witness()
    return trial.folder


def _enter(trial: Trial, folder: Path) -> Path:
    """From now on the trial works in this folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    trial.folder, trial.uri = folder, f"sqlite:///{folder / 'mlflow.db'}"
    return folder


def _elsewhere(trial: Trial) -> Path:
    return trial.folder.parent / "new" / trial.rng.choice(NAMES)


def _move(trial: Trial) -> Path:
    """Returns the old folder, which is gone."""
    old, new = trial.folder, _elsewhere(trial)
    new.parent.mkdir(parents=True)
    shutil.move(old, new)
    _enter(trial, new)
    return old


def _on_another_machine(trial: Trial) -> None:
    with closing(sqlite3.connect(trial.folder / "mlflow.db")) as database, database:
        database.execute("UPDATE tags SET value = 'elsewhere-00000000' WHERE key LIKE '%process.host'")


def _kill_soon(trial: Trial, command: Command, seconds: float) -> None:
    """At a random moment; it may have ended by then."""
    time.sleep(trial.rng.uniform(0.0, seconds))
    with suppress(ProcessLookupError):
        command.signal(signal.SIGKILL)
    command.wait()


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _stays_inside(trial: Trial) -> None:
    """Every place of the store lies in the trial's folder."""
    with closing(sqlite3.connect(trial.folder / "mlflow.db")) as database:
        found = database.execute(
            "SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM experiments"
        ).fetchall()
    outside = [place for (place,) in found if not place.startswith(f"{trial.folder}/mlruns/")]
    trial.expect(not outside, f"places outside the project: {outside[:3]}")


@fault("a sweep is killed, and the project is moved")
def moved_project(trial: Trial) -> Tally:
    _killed(trial)
    old = _move(trial)
    tally = trial.again()
    _stays_inside(trial)
    if old.exists():
        tally.complaints.append("the old folder was written to")
    return tally


@fault("a sweep is killed, and the project goes on in a copy beside the original")
def copied_project(trial: Trial) -> Tally:
    original = _killed(trial)
    before = _digests(original)
    shutil.copytree(original, _enter(trial, _elsewhere(trial)))
    tally = trial.again()
    _stays_inside(trial)
    if _digests(original) != before:
        tally.complaints.append("the original has changed")
    return tally


@fault("a sweep is killed, and the project goes on on another machine, where the old path cannot be made")
def handed_in(trial: Trial) -> Tally:
    _killed(trial)
    _on_another_machine(trial)
    old = _move(trial)
    old.write_text("a file is here")
    tally = trial.again()
    _stays_inside(trial)
    return tally


@fault("the first start after a move is killed")
def killed_after_a_move(trial: Trial) -> Tally:
    _killed(trial)
    _on_another_machine(trial)
    _move(trial)
    command = trial.start()
    _kill_soon(trial, command, 1.0)
    tally = trial.again()
    _stays_inside(trial)
    return tally


@fault("a moved project's database is locked by another program for 10 s at the first start")
def locked_after_a_move(trial: Trial) -> Tally:
    _killed(trial)
    _move(trial)
    with closing(sqlite3.connect(trial.folder / "mlflow.db", timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        command = trial.start()
        time.sleep(10)
        database.execute("ROLLBACK")
    code = command.wait()
    trial.expect(code in (0, 2), f"exit code {code}: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    tally = trial.again()
    _stays_inside(trial)
    return tally


@fault("a project is moved twice, with and without a start in between")
def moved_twice(trial: Trial) -> Tally:
    _killed(trial)
    _move(trial)
    if trial.rng.random() < 0.5:
        trial.start("deliver").wait()
    shutil.move(trial.folder, trial.folder.parent / "again")
    _enter(trial, trial.folder.parent / "again")
    tally = trial.again()
    _stays_inside(trial)
    return tally


# Packed and unpacked


def _packed(trial: Trial) -> str:
    """The undisturbed sweep as an archive, packed once."""
    work, path = trial.folder, trial.reference.empty_store.parents[1] / f"runs-{threading.get_ident()}.zip"
    if path.exists():
        return str(path)
    environ, trial.environ = trial.environ, {k: v for k, v in trial.environ.items() if not k.startswith("MLFLOW_T")}
    trial.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    trial.folder = trial.reference.folder
    command = trial.start("pack", "-o", str(path))
    code = command.wait()
    trial.folder, trial.environ = work, environ
    trial.expect(code == 0, f"pack: exit code {code}: {command.stderr}")
    return str(path)


def _unpack(trial: Trial, archive: str) -> None:
    command = trial.start("unpack", archive)
    code = command.wait()
    trial.expect(code == 0, f"unpack: exit code {code}: {command.stderr}")


def _nothing_trains(trial: Trial, tally: Tally) -> Tally:
    """Every cell of the repeated sweep was found finished."""
    runs = [cell for cell in trial.records().cells if cell.status == "FINISHED"]
    if len(runs) != len(trial.reference.records.cells):
        tally.complaints.append(f"{len(runs)} finished cells in place of {len(trial.reference.records.cells)}")
    return tally


@fault("the process that packs is killed")
def killed_packing(trial: Trial) -> Tally:
    """There is a whole archive or none."""
    path = trial.folder.parent / "struck.zip"
    work, trial.folder = trial.folder, trial.reference.folder
    command = trial.start("pack", "-o", str(path))
    _kill_soon(trial, command, 0.8)
    trial.folder = work
    archive = str(path) if path.exists() else _packed(trial)
    _unpack(trial.with_store(), archive)
    return _nothing_trains(trial, trial.again())


@fault("the process that unpacks is killed, and again, then it is repeated")
def killed_unpacking(trial: Trial) -> Tally:
    archive = _packed(trial.with_store())
    for _ in range(2):
        command = trial.start("unpack", archive)
        _kill_soon(trial, command, 1.0)
        half = [run for run in trial.records().runs.values() if run.status == "FINISHED" and not run.files()]
        trial.expect(not half, f"finished without files: {half}")
    _unpack(trial, archive)
    return _nothing_trains(trial, trial.again())


@fault("runs are packed while a part of a killed sweep waits in journals, and again when the store takes it")
def packed_with_journals(trial: Trial) -> Tally:
    """The first archive is told to lack it; the second one has it."""
    flag, first = trial.with_store().folder.parent / "refusing", trial.folder.parent / "first.zip"
    refusing = sabotage.Refusing("BAD_REQUEST", "(sqlite3.DatabaseError) malformed", flag, "metrics")
    refusing = sabotage.Both(refusing, sabotage.impatient)
    command = trial.start(sabotage=refusing)
    trial.wait_until(lambda: trial.records().cells, command)
    time.sleep(trial.rng.uniform(0.0, 1.0))
    flag.touch()
    time.sleep(trial.rng.uniform(0.3, 1.0))
    command.signal(signal.SIGKILL)
    command.wait()
    trial.witness()
    early = trial.start("pack", "-o", str(first), sabotage=refusing)
    trial.expect(early.wait() == 1, f"pack: exit code {early.code}: {early.stderr}")
    trial.expect(f"{first} lacks what the store lacks" in early.stderr, f"not told: {early.stderr}")
    flag.unlink()
    archive = str(trial.folder.parent / "second.zip")
    late = trial.start("pack", "-o", archive)
    trial.expect(late.wait() == 0, f"pack: exit code {late.code}: {late.stderr}")
    trial.still_has()
    _enter(trial, trial.folder.parent / "target").mkdir()
    _unpack(trial.with_store(), archive)
    return trial.again()


@fault("two processes unpack the same archive at once")
def unpacked_twice_at_once(trial: Trial) -> Tally:
    archive = _packed(trial.with_store())
    commands = [trial.start("unpack", archive) for _ in range(2)]
    codes = [command.wait() for command in commands]
    trial.expect(0 in codes and set(codes) <= {0, 1}, f"exit codes {codes}: {[one.stderr for one in commands]}")
    trial.expect(not any("Traceback" in one.stderr for one in commands), str([one.stderr for one in commands]))
    _unpack(trial, archive)
    return _nothing_trains(trial, trial.again())


@fault("a command is stopped (Ctrl-Z) while it unpacks; another says that it waits")
def stopped_unpacking(trial: Trial) -> Tally:
    archive = _packed(trial.with_store())
    first = trial.start("unpack", archive, sabotage=sabotage.Stopped("harness.runs.archive_unpacking", "_add"))
    trial.wait_until(lambda: first.is_stopped, first)
    other = trial.start("unpack", archive)
    trial.wait_until(lambda: "waiting for another command that unpacks" in other.stderr, other, 30)
    first.signal(signal.SIGCONT)
    codes = [first.wait(), other.wait()]
    trial.expect(codes == [0, 0], f"exit codes {codes}: {first.stderr}{other.stderr}")
    return _nothing_trains(trial, trial.again())


@fault("three processes pack into the same file at once, and one of them is killed or interrupted")
def packed_at_once(trial: Trial) -> Tally:
    """The file is a whole archive, and nothing else is left."""
    path = trial.with_trained_store().folder / "runs.zip"
    commands = [trial.start("pack", "-o", str(path)) for _ in range(3)]
    time.sleep(trial.rng.uniform(0.0, 1.0))
    with suppress(ProcessLookupError):
        commands[0].signal(trial.rng.choice([signal.SIGKILL, signal.SIGINT]))
    codes = [command.wait() for command in commands]
    late = {2} if all("does not exist yet" in one.stderr for one in commands[1:] if one.code) else set()
    trial.expect(set(codes[1:]) <= {0} | late, f"exit codes {codes}: {[one.stderr for one in commands]}")
    for folder in trial.folder.glob(".harness-pack-*"):
        os.utime(folder / "lock", (0, 0))  # a minute later
    last = trial.start("pack", "-o", str(trial.folder / "last.zip"))
    trial.expect(last.wait() == 0, f"exit code {last.code}: {last.stderr}")
    names = {one.name for one in trial.folder.iterdir()}
    trial.expect(names == {"mlflow.db", "mlruns", "runs.zip", "last.zip"}, f"in the folder: {names}")
    trial.expect(path.read_bytes() == (trial.folder / "last.zip").read_bytes(), "the two archives differ")
    _enter(trial, trial.folder.parent / "target").mkdir()
    _unpack(trial.with_store(), str(path))
    return _nothing_trains(trial, trial.again())


@fault("an archive was cut short, or a byte of it has changed")
def damaged_archive(trial: Trial) -> Tally:
    """Refused before anything is written, or unharmed."""
    archive = _packed(trial.with_store())
    data, path = Path(archive).read_bytes(), trial.folder.parent / "damaged.zip"
    place = trial.rng.randrange(len(data))
    path.write_bytes(data[:place] if trial.rng.random() < 0.5 else data[:place] + b"\xff" + data[place + 1 :])
    before = len(trial.records().runs)
    command = trial.start("unpack", str(path))
    code = command.wait()
    trial.expect(code in (0, 2) and "Traceback" not in command.stderr, f"exit code {code}: {command.stderr}")
    trial.expect(code == 0 or len(trial.records().runs) == before, "a damaged archive left runs")
    trial.expect(code == 0 or len(command.stderr.splitlines()) == 1, command.stderr)
    _unpack(trial, archive)
    return _nothing_trains(trial, trial.again())


@fault("an archive is unpacked onto a server that answers one request in ten with an error, and is killed", "server")
def unpacked_onto_a_server(trial: ServerTrial, site: Site) -> Tally:
    proxy = trial.connect(site)
    archive = _packed(trial)
    proxy.fate = now_and_then(trial.rng.random, ["500", "502", "drop"], 0.1)
    command = trial.start("unpack", archive)
    _kill_soon(trial, command, 6.0)
    proxy.fate = lambda: "pass"
    _unpack(trial, archive)
    return _nothing_trains(trial, trial.again())


@fault("runs of a server are packed and unpacked into a SQLite store", "server")
def packed_from_a_server(trial: ServerTrial, site: Site) -> Tally:
    trial.connect(site)
    code = trial.start().wait()
    trial.expect(code == 0, f"exit code {code}")
    path = trial.folder.parent / "server.zip"
    command = trial.start("pack", "-o", str(path))
    trial.expect(command.wait() == 0, command.stderr)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        trial.environ.pop(name)
    trial.experiment, trial.artifacts = "harness", None
    _enter(trial, trial.folder.parent / "sqlite").mkdir()
    _unpack(trial.with_store(), str(path))
    return _nothing_trains(trial, trial.again())
