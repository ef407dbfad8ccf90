"""Faults of a store that is to be opened: each is one line with a way out, and nothing is trained or changed."""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from . import sabotage
from .commands import Command, environment
from .commands_fail import _sql
from .fault import NotHere, fault
from .records import Tally
from .trial import Trial, own_tally

CELL = ("dataset=iris", "seeds=2", "epochs=2")


def refused(trial: Trial, told: str, *words: str, **options) -> Command:
    """Start a cell, or these words: one line on stderr in which `told`, a pattern, is found."""
    command = trial.start(*(words or CELL), **options)
    code = command.wait()
    trial.expect(code == 2, f"exit code {code}: {command.stderr}")
    trial.expect(len(command.stderr.splitlines()) == 1, f"not one line: {command.stderr}")
    trial.expect(re.search(told, command.stderr), f"does not say {told}: {command.stderr}")
    return command


def unchanged(trial: Trial) -> Tally:
    """No run has begun."""
    runs = trial.records().runs
    trial.expect(not runs, f"{len(runs)} runs were begun")
    return own_tally(trial, [], wanted=0)


@fault("the experiment was deleted in the UI; then restored as the refusal says")
def experiment_deleted(trial: Trial) -> Tally:
    trial.with_store()
    _sql(trial, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'harness'")
    command = refused(trial, r"to restore it: \S+ mlflow experiments restore -x \d+")
    variable, words = re.search(r"to restore it: (\S+) mlflow ([^)]*)", command.stderr).groups()
    environ = environment() | dict([variable.split("=", 1)])
    subprocess.run([sys.executable, "-m", "mlflow", *words.split()], cwd=trial.folder, env=environ, check=True)
    return trial.again()


@fault("the database was cut short, or overwritten with noise; then a copy of it put back")
def database_damaged(trial: Trial) -> Tally:
    database = trial.with_store().folder / "mlflow.db"
    whole = database.read_bytes()
    cut = whole[: trial.rng.randrange(1, len(whole) // 2)]
    database.write_bytes(trial.rng.choice([cut, trial.rng.randbytes(20_000)]))
    refused(trial, "mlflow.db: expected a whole database .*put a copy of it back")
    database.write_bytes(whole)
    return trial.again()


@fault("a folder in the place of the database")
def database_is_a_folder(trial: Trial) -> Tally:
    (trial.folder / "mlflow.db").mkdir()
    refused(trial, "mlflow.db: expected a database; here is a folder")
    (trial.folder / "mlflow.db").rmdir()
    return unchanged(trial.with_store())


@fault("a database that may not be written to")
def database_read_only(trial: Trial) -> Tally:
    database = str(trial.with_store().folder / "mlflow.db")
    with _read_only(database):
        refused(trial, "mlflow.db: expected a file that you may write to .*chmod u.rw")
    return unchanged(trial)


@contextmanager
def _read_only(file: str):
    """Also for a superuser, whom permissions do not stop."""
    if subprocess.run(["mount", "--bind", file, file], capture_output=True).returncode:
        raise NotHere("no file may be mounted read-only")
    subprocess.run(["mount", "-o", "remount,bind,ro", file], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", file], check=True)


@fault("a database of an older MLflow: its own remedy is told")
def schema_older(trial: Trial) -> Tally:
    trial.with_store()
    _sql(trial, "UPDATE alembic_version SET version_num = '0a8213491aaa'")
    refused(trial, r"older one wrote it .*mlflow db upgrade sqlite:///mlflow\.db\)")
    return unchanged(trial)


@fault("a database of a newer MLflow")
def schema_newer(trial: Trial) -> Tally:
    trial.with_store()
    _sql(trial, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    refused(trial, "newer one wrote it .pip install --upgrade mlflow")
    return unchanged(trial)


@fault("an address of a store that is misspelt, has no driver, or keeps nothing")
def address_misspelt(trial: Trial) -> Tally:
    addresses = {
        "sqllite:///mlflow.db": "did you mean sqlite",
        "htttp://127.0.0.1:5000": "did you mean http",
        "mssql://localhost/runs": "pip install pyodbc",
        "sqlite:///:memory:": "keeps nothing",
        "http://[::1": "Invalid IPv6",
    }
    uri = trial.rng.choice(list(addresses))
    refused(trial.with_store(), f"MLFLOW_TRACKING_URI: .*{addresses[uri]}", MLFLOW_TRACKING_URI=uri)
    return unchanged(trial)


@fault("a file store: its address, or what an older MLflow left in mlruns")
def file_store(trial: Trial) -> Tally:
    trial.with_store()
    if trial.rng.random() < 0.5:
        refused(trial, "mlflow migrate-filestore", MLFLOW_TRACKING_URI="file:./mlruns")
        return unchanged(trial)
    stray = trial.folder / "mlruns" / "7"
    stray.mkdir(parents=True)
    (stray / "meta.yaml").write_text("experiment_id: '7'")
    refused(trial, "mv mlruns/7 elsewhere")
    shutil.move(stray, trial.folder.parent)
    return trial.again()


@fault("a file in the place of mlruns, of its journals or of the artifacts")
def file_in_the_way(trial: Trial) -> Tally:
    way = trial.with_store().folder / trial.rng.choice(["mlruns", "mlruns/undelivered", "mlruns/1"])
    way.parent.mkdir(exist_ok=True)
    way.touch()
    refused(trial, "move the file away|move away or chmod")
    way.unlink()
    return unchanged(trial)


@fault("another program, or one that lets nobody in, answers at the server's address")
def no_server(trial: Trial) -> Tally:
    answers = {
        (200, "<html>hello</html>"): "another program answers",
        (200, '{"status": "up"}'): "another program answers",
        (200, ""): "another program answers",
        (404, "<h1>Not Found</h1>"): "another program answers",
        (401, "who are you"): "MLFLOW_TRACKING_USERNAME",
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}'): "allows you to read and write",
    }
    answer = trial.rng.choice(list(answers))
    with _answering(*answer) as uri:
        refused(trial.with_store(), answers[answer], MLFLOW_TRACKING_URI=uri)
    return unchanged(trial)


@contextmanager
def _answering(status: int, body: str):
    """The address of a server that gives this answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - the base class looks for this name

        def log_message(self, *unused: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@fault("a cell for which the machine lacks memory")
def memory_lacking(trial: Trial) -> Tally:
    word = trial.rng.choice(["model.hidden=[100000,100000]", "seeds=1000000000", "epochs=1000000000000"])
    refused(trial.with_store(), r"memory of iris .* GB of this machine .* GB or more", "dataset=iris", word)
    return unchanged(trial)


@fault("the current folder was deleted")
def folder_deleted(trial: Trial) -> Tally:
    told = "current folder: expected a folder that exists"
    refused(trial.with_store(), told, sabotage=sabotage.by_deleting_the_folder)
    return unchanged(trial)
