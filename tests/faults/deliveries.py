"""Faults of delivery: a store that answers but refuses, for a while or for good, and journals that cannot be read."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from . import sabotage
from .commands import Command
from .fault import fault
from .records import Tally
from .servers import Site
from .trial import LONG, ServerTrial, Trial, own_tally

SECONDS = 12.0  # of a refusal in the middle of a sweep

# A server, or a proxy before it, that answers everything with a refusal


def _refused(trial: ServerTrial, site: Site, fate: str) -> Tally:
    proxy = trial.connect(site)

    def refusing() -> None:
        proxy.fate = lambda: fate
        time.sleep(SECONDS)
        proxy.fate = lambda: "pass"

    begun, ended = trial.train_through(refusing, *LONG)
    trial.expect(proxy.n_harmed > 0, "no request was harmed")
    trial.trained_on(begun, ended, longest=5.0)
    return own_tally(trial, trial.records().cells, wanted=2)


ANSWERS = {
    "refused_401": ("401", "401"),
    "refused_403": ("403", "403"),
    "refused_400": ("400", "400"),
    "refused_404": ("404", "404"),
    "refused_413": ("413", "413"),
    "refused_429": ("429", "429"),
    "page_200": ("200", "a page of HTML with 200"),
    "denied": ("403 PERMISSION_DENIED", "403 as MLflow's PERMISSION_DENIED"),
    "unauthenticated": ("401 UNAUTHENTICATED", "401 as MLflow's UNAUTHENTICATED"),
    "invalid": ("400 INVALID_PARAMETER_VALUE", "400 as MLflow's INVALID_PARAMETER_VALUE"),
    "bad_request": ("400 BAD_REQUEST", "400 as MLflow's BAD_REQUEST"),
    "not_there": ("404 RESOURCE_DOES_NOT_EXIST", "404 as MLflow's RESOURCE_DOES_NOT_EXIST"),
}


def _register(name: str, fate: str, title: str) -> None:
    def try_it(trial: ServerTrial, site: Site) -> Tally:
        return _refused(trial, site, fate)

    try_it.__name__ = name
    fault(f"the server answers everything with {title} for {SECONDS:.0f} s", group="server")(try_it)


for _name, (_fate, _title) in ANSWERS.items():
    _register(_name, _fate, _title)


@fault("the server answers everything with 401 or 403 until the command has given up", group="server")
def refused_for_minutes(trial: ServerTrial, site: Site) -> Tally:
    """The command gives up after a minute, says where the data is, and `deliver` sends it."""
    proxy = trial.connect(site)
    command = trial.start()
    trial.wait_for_points(command)
    time.sleep(trial.rng.uniform(0, 1.0))
    proxy.fate = lambda: trial.rng.choice(["401", "403 PERMISSION_DENIED"])
    code = command.wait()
    trial.expect(code == 1, f"exit code {code}: {command.stderr}")
    trial.expect("python -m harness deliver" in command.stderr, f"does not say what to do: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    trial.witness()
    proxy.fate = lambda: "pass"
    _deliver(trial)
    return trial.again()


def _uploads_answered(trial: ServerTrial, site: Site, status: str) -> Tally:
    """From the first points on; later the proxy lets them pass."""
    proxy = trial.connect(site)
    proxy.concerns = lambda method, path: method == "PUT" and "mlflow-artifacts" in path
    command = trial.start()
    trial.wait_for_points(command)
    proxy.fate = lambda: status
    _ends_with_parked(trial, command, "artifacts")
    trial.witness()
    proxy.fate = lambda: "pass"
    _deliver(trial)
    return trial.again()


@fault("a proxy takes no upload of artifacts (413); later it does", group="server")
def uploads_refused(trial: ServerTrial, site: Site) -> Tally:
    return _uploads_answered(trial, site, "413")


@fault("a proxy answers uploads of artifacts with a page of HTML and 200; later it does not", group="server")
def uploads_lost(trial: ServerTrial, site: Site) -> Tally:
    return _uploads_answered(trial, site, "200")


def _deliver(trial: Trial) -> None:
    late = trial.start("deliver")
    trial.expect(late.wait() == 0, f"deliver: {late.stderr}")


def _ends_with_parked(trial: Trial, command: Command, what: str) -> None:
    """Code 1, one line that says what is refused and what to do, nothing left open, no traceback."""
    code = command.wait()
    trial.expect(code == 1, f"exit code {code}: {command.stderr}")
    said = [line for line in command.stderr.splitlines() if "refuses a part" in line]
    trial.expect(said and what in said[0], f"does not say what is refused: {command.stderr}")
    trial.expect(all("python -m harness deliver" in line for line in said), f"does not say what to do: {said}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    trial.nothing_runs()
    early = trial.start("deliver")
    trial.expect(early.wait() == 1 and len(early.stderr.splitlines()) == 1, f"deliver, too early: {early.stderr}")


# A store in SQLite that refuses a part


def _refuses(trial: Trial, argument: str, code: str, message: str, what: str) -> Tally:
    """From a random moment on, or from the start; the next start sends what was refused, and trains nothing again."""
    flag = trial.with_store().folder.parent / "refusing"
    refusing = sabotage.Both(sabotage.Refusing(code, message, flag, argument), sabotage.impatient)
    command = trial.start(sabotage=refusing)
    time.sleep(trial.rng.uniform(0, trial.reference.seconds / 2))
    flag.touch()
    code = command.wait()
    parked = list((trial.folder / "mlruns" / "undelivered").glob("[!.]*/state.json"))
    trial.expect(code == int(bool(parked)), f"exit code {code} with {len(parked)} journals: {command.stderr}")
    trial.expect(not parked or f"{what}: {message}" in command.stderr, f"does not say what: {command.stderr}")
    trial.expect("Traceback" not in command.stderr, command.stderr)
    trial.nothing_runs()
    trial.witness()
    return trial.again()


@fault("the store refuses parameters for good")
def params_refused(trial: Trial) -> Tally:
    return _refuses(trial, "params", "INVALID_PARAMETER_VALUE", "too long", "parameters")


@fault("the store refuses points: 'database disk image is malformed'")
def points_refused(trial: Trial) -> Tally:
    return _refuses(trial, "metrics", "BAD_REQUEST", "(sqlite3.DatabaseError) malformed", "points")


@fault("the store refuses tags: a password that may only read")
def tags_refused(trial: Trial) -> Tally:
    return _refuses(trial, "tags", "PERMISSION_DENIED", "may only read", "tags")


@fault("the artifacts' bucket cannot be reached; later the artifacts go elsewhere")
def bucket_closed(trial: Trial) -> Tally:
    """From the start on: no cell can finish, and all are kept. Without its library, nothing is trained."""
    trial.with_store()
    with _database(trial) as database:
        (own,) = database.execute("SELECT artifact_location FROM experiments WHERE name = 'harness'").fetchone()
        database.execute("UPDATE experiments SET artifact_location = 's3://bucket/1' WHERE name = 'harness'")
    refused = trial.start()
    trial.expect(refused.wait() == 2 and "pip install boto3" in refused.stderr, f"no library: {refused.stderr}")
    command = trial.start(sabotage=sabotage.bucketless)
    _ends_with_parked(trial, command, "artifacts")
    trial.witness()
    with _database(trial) as database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'harness'", (own,))
        database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, 's3://bucket/1', ?)", (own,))
    _deliver(trial)
    cells = trial.records().cells
    trial.expect([cell.status for cell in cells] == ["FINISHED"] * 3, "what was kept did not finish the cells")
    tally = trial.again()
    tally.complaints = [one for one in tally.complaints if not one.endswith("(FAILED) has no report")]
    return tally  # the first sweep could not be answered: that is the fault


@fault("something else lies where the artifacts go; later it does not")
def artifacts_blocked(trial: Trial) -> Tally:
    """As a disk that is mounted read-only; root may write into any folder, but not into a file."""
    trial.with_store()
    command = trial.start(sabotage=sabotage.impatient)
    trial.wait_until(lambda: trial.records().cells, command)
    place, aside = trial.folder / "mlruns" / "1", trial.folder / "aside"
    place.rename(aside)
    place.write_text("in the way")
    code = command.wait()
    trial.expect(code == 1 and "refuses a part" in command.stderr, f"exit code {code}: {command.stderr}")
    trial.nothing_runs()
    trial.witness()
    place.unlink()
    aside.rename(place)
    _deliver(trial)
    tally = trial.again()
    tally.complaints = [one for one in tally.complaints if not one.endswith("(FAILED) has no report")]
    return tally


@fault("the store comes back empty: the runs that were open are gone; later they are there again")
def store_emptied(trial: Trial) -> Tally:
    """Nothing is deleted from the journals: they deliver when the runs are there again."""
    trial.with_store()
    command = trial.start()
    trial.wait_for_points(command)
    backup = trial.folder.parent / "backup.db"
    reader = sqlite3.connect(trial.folder / "mlflow.db")
    with _database(trial) as database, closing(reader), closing(sqlite3.connect(backup)) as copy:
        database.execute("BEGIN IMMEDIATE")  # nothing is written between the copy and the end of the runs
        reader.backup(copy)
        for table in tables_of_runs(database):
            database.execute(f"DELETE FROM {table}")
    code = command.wait()
    trial.expect(code == 1 and "not found" in command.stderr, f"exit code {code}: {command.stderr}")
    with _database(trial) as database:
        database.execute("ATTACH ? AS old", (str(backup),))
        for table in reversed(tables_of_runs(database)):
            database.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM old.{table}")
    _deliver(trial)
    tally = trial.again()
    tally.complaints = [one for one in tally.complaints if not one.endswith("(FAILED) has no report")]
    return tally


def tables_of_runs(database: sqlite3.Connection) -> list[str]:
    """Those with rows of runs, the runs themselves last."""
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    of_runs = [
        name
        for name in names
        if name != "runs" and "run_uuid" in {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
    ]
    return [*sorted(of_runs), "runs"]


def _database(trial: Trial):
    """The store's file, committed and closed at the end."""

    class Database:
        def __enter__(self) -> sqlite3.Connection:
            self.connection = sqlite3.connect(trial.folder / "mlflow.db", timeout=20)
            return self.connection

        def __exit__(self, *unused: object) -> None:
            self.connection.commit()
            self.connection.close()

    return Database()


# Journals that cannot be read


def _damaged(trial: Trial, damage: Callable[[Path], None], keeps_lines: bool = False) -> Tally:
    """A killed sweep's journals hold points, one of them is damaged; the next start says so in one line."""
    flag = trial.with_store().folder.parent / "refusing"
    refusing = sabotage.Refusing("TEMPORARILY_UNAVAILABLE", "locked", flag, "metrics")
    command = trial.start(sabotage=refusing)
    trial.wait_until(lambda: trial.records().cells, command)
    flag.touch()
    time.sleep(trial.rng.uniform(0.3, 1.0))
    command.signal(signal.SIGKILL)
    command.wait()
    found = sorted((trial.folder / "mlruns" / "undelivered").glob("[!.]*"))
    trial.expect(found, "no journal was left")
    if keeps_lines:
        trial.witness()
    damage(found[-1])
    tally = trial.again()
    aside = trial.folder / "mlruns" / "unreadable" / found[-1].name
    tally.complaints += [] if (aside / "journal.jsonl").exists() or not keeps_lines else ["the journal is not there"]
    tally.complaints += [] if aside.is_dir() else ["it was not set aside"]
    said = [line for line in trial.last.stderr.splitlines() if str(aside) in line]
    tally.complaints += [] if len(said) == 1 else [f"told in {len(said)} lines: {trial.last.stderr}"]
    tally.complaints += [trial.last.stderr] if "Traceback" in trial.last.stderr else []
    return tally


def _write(name: str, text: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(text)


@fault("a journal with an empty state.json")
def journal_empty_state(trial: Trial) -> Tally:
    return _damaged(trial, _write("state.json", b""))


@fault("a journal with state.json = [] or null")
def journal_null_state(trial: Trial) -> Tally:
    return _damaged(trial, _write("state.json", trial.rng.choice([b"[]", b"null", b"{}"])))


@fault("a journal of a newer version")
def journal_of_a_newer_version(trial: Trial) -> Tally:
    def damage(folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text(json.dumps({**state, "version": 2}))

    return _damaged(trial, damage)


@fault("a journal without journal.jsonl")
def journal_without_lines(trial: Trial) -> Tally:
    return _damaged(trial, lambda folder: (folder / "journal.jsonl").unlink())


@fault("a journal of random bytes")
def journal_of_random_bytes(trial: Trial) -> Tally:
    return _damaged(trial, _write("journal.jsonl", trial.rng.randbytes(4000) + b"\n"))


@fault("a journal with a line of garbage at a random place")
def journal_garbage_line(trial: Trial) -> Tally:
    """All other lines are delivered."""

    def damage(folder: Path) -> None:
        lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
        offset = json.loads((folder / "state.json").read_text())["offset"]
        places = [i for i in range(1, len(lines) + 1) if len(b"".join(lines[:i])) >= offset]
        lines.insert(trial.rng.choice(places), b"\0garbage\xff\n")
        (folder / "journal.jsonl").write_bytes(b"".join(lines))

    return _damaged(trial, damage, keeps_lines=True)


@fault("too many files are open when a journal is read")
def journal_without_descriptor(trial: Trial) -> Tally:
    """It stays, is told, and is delivered by the next command."""
    flag = trial.with_store().folder.parent / "refusing"
    command = trial.start(sabotage=sabotage.Refusing("TEMPORARILY_UNAVAILABLE", "locked", flag, "metrics"))
    trial.wait_until(lambda: trial.records().cells, command)
    flag.touch()
    time.sleep(trial.rng.uniform(0.3, 1.0))
    command.signal(signal.SIGKILL)
    command.wait()
    trial.witness()
    early = trial.start("deliver", sabotage=sabotage.without_files)
    trial.expect(early.wait() == 1, f"exit code {early.code}: {early.stderr}")
    trial.expect("Too many open files; it stays there" in early.stderr, early.stderr)
    trial.expect("Traceback" not in early.stderr, early.stderr)
    return trial.again()
