"""Faults by another hand: what is planted in a store that is shared, or in a name. None of it may run, load or wait."""

import os
import pickle
import re
import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import yaml

from .fault import fault
from .records import Run, Tally
from .trial import SWEEP, Trial

SECONDS = 120.0  # that a command about a planted run may take
SECRETS = ("hunter22", "a1b2c3d4e5f6", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")


def _load(sweep: str) -> None:
    """In place of a command: what somebody does in Python."""
    import harness

    with suppress(harness.ConfigError):
        _ = harness.load(sweep).results
    sys.exit()


Plant = Callable[[Run, Path], None]  # into the artifacts of a run; the path is to be made by what would be executed


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self.proof,)


def _attacked(trial: Trial, plant: Plant, told: str, of_sweep: bool = False) -> Tally:
    """A finished sweep, one run of it planted; all that reads it; then the sweep as it was.

    told: in the one line with which the run is refused.
    """
    records, proof, saved = (
        trial.with_trained_store().records(),
        trial.folder.parent / "proof",
        trial.folder.parent / "saved",
    )
    cell, sweep = trial.rng.choice(records.cells), records.parents[-1]
    shutil.copytree(trial.folder, saved)
    plant(sweep if of_sweep else cell, proof)
    _read_everything(trial, cell, sweep, told, of_sweep)
    trial.n_executed += proof.exists()
    shutil.rmtree(trial.folder)
    saved.rename(trial.folder)
    return trial.compared()


def _read_everything(trial: Trial, cell: Run, sweep: Run, told: str, of_sweep: bool) -> None:
    refused = "report" if of_sweep else "verify"
    for verb, run in (("verify", cell), ("verify", sweep), ("report", sweep)):
        command = trial.start(verb, run.run_id, SCIKIT_LEARN_DATA=str(trial.folder / "own data"))
        code = command.wait(SECONDS)
        trial.expect("Traceback" not in command.stderr, f"{verb} shows a traceback: {command.stderr}")
        if verb == refused and (of_sweep or run is cell):
            trial.expect(code == 2, f"{verb} ended with {code}: {command.stderr}")
            trial.expect(len(command.stderr.splitlines()) == 1, f"more than a line: {command.stderr}")
            trial.expect(told in command.stderr, f"not told: {command.stderr}")
    trial.start("load", sabotage=partial(_load, sweep.run_id)).wait(SECONDS)


def _other_loader(**load: object) -> Plant:
    """The run's configuration with another loader; `{}` in its texts is the place of its artifacts."""

    def plant(run: Run, proof: Path) -> None:
        path = run.artifacts / "config.yaml"
        config = yaml.safe_load(path.read_text())
        texts = {k: v.format(run.artifacts, proof=proof) if isinstance(v, str) else v for k, v in load.items()}
        config["dataset"]["load"] = texts
        path.write_text(yaml.safe_dump(config))

    return plant


# Code


@fault("a run's configuration names a cache among its artifacts, where a pickle is planted")
def planted_cache(trial: Trial) -> Tally:
    def plant(run: Run, proof: Path) -> None:
        (run.artifacts / "cal_housing_py3.pkz").write_bytes(pickle.dumps(Bomb(proof)))
        _other_loader(_target_="sklearn.datasets.fetch_california_housing", data_home="{}")(run, proof)

    return _attacked(trial, plant, "dataset.load.data_home: expected an argument that")


@fault("a run's configuration leads a cache out of its folder, to a planted pickle")
def cache_elsewhere(trial: Trial) -> Tally:
    def plant(run: Run, proof: Path) -> None:
        (run.artifacts / "x_py3.pkl").write_bytes(pickle.dumps(Bomb(proof)))
        load = {"_target_": "sklearn.datasets.fetch_20newsgroups_vectorized", "remove": [f"/..{run.artifacts}/x"]}
        _other_loader(**load)(run, proof)

    return _attacked(trial, plant, "dataset.load._target_: expected")


@fault("a run's configuration names a function that is no loader")
def another_function(trial: Trial) -> Tally:
    plant = _other_loader(_target_="os.mkdir", path="{proof}")
    return _attacked(trial, plant, "dataset.load._target_: expected")


@fault("a run's configuration makes an object as YAML can")
def object_in_yaml(trial: Trial) -> Tally:
    def plant(run: Run, proof: Path) -> None:
        with (run.artifacts / "config.yaml").open("a") as file:
            file.write(f"more: !!python/object/apply:os.mkdir [{proof}]\n")

    return _attacked(trial, plant, "config.yaml: expected")


@fault("a run's weights are a pickle")
def pickled_weights(trial: Trial) -> Tally:
    def plant(run: Run, proof: Path) -> None:
        if trial.rng.random() < 0.5:
            (run.artifacts / "weights.npz").write_bytes(pickle.dumps(Bomb(proof)))
        else:
            np.savez(run.artifacts / "weights.npz", W0=np.array([Bomb(proof)], dtype=object))

    return _attacked(trial, plant, "weights.npz: expected")


@fault("a sweep claims to be of a study whose module lies elsewhere")
def module_of_a_study(trial: Trial) -> Tally:
    def plant(run: Run, proof: Path) -> None:
        module = run.artifacts / "judge"
        module.with_suffix(".py").write_text(f"import os\nos.mkdir({str(proof)!r})\n")
        claim = dict.fromkeys(("says", "source", "measure", "supported", "refuted"), "x")
        study = {"name": str(module), "question": "x", "claims": {"C1": claim}}
        module.with_suffix(".yaml").write_text(yaml.safe_dump({"study": study}))
        (run.artifacts / "study.yaml").write_text(yaml.safe_dump(study))

    return _attacked(trial, plant, "experiment: expected", of_sweep=True)


# Time and memory


@fault("a run's configuration is a bomb of YAML's aliases")
def aliases(trial: Trial) -> Tally:
    def plant(run: Run, _: Path) -> None:
        lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
        with (run.artifacts / "config.yaml").open("a") as file:
            file.write("\n".join(lines))

    return _attacked(trial, plant, "config.yaml: expected")


@fault("a run's weights are a packed gigabyte of zeros")
def packed_weights(trial: Trial) -> Tally:
    def plant(run: Run, _: Path) -> None:
        np.savez_compressed(run.artifacts / "weights.npz", W0=np.zeros((1, 8, 1 << 24)), b0=np.zeros((1, 1)))

    return _attacked(trial, plant, "weights.npz: expected")


@fault("a sweep's grid is JSON that is nested a million times")
def deep_grid(trial: Trial) -> Tally:
    def plant(run: Run, _: Path) -> None:
        (run.artifacts / "grid.json").write_text("[" * 1_000_000)

    return _attacked(trial, plant, "grid.json", of_sweep=True)


@fault("a run's data file is a pipe that nobody writes to")
def pipe(trial: Trial) -> Tally:
    def plant(run: Run, proof: Path) -> None:
        os.mkfifo(run.artifacts / "data.csv")
        _other_loader(_target_="harness.data.files.read_file", path="{}/data.csv")(run, proof)

    return _attacked(trial, plant, "dataset.load.path: expected an ordinary file")


# Network


@contextmanager
def _listening() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who has connected to it."""
    callers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def wait() -> None:
            try:
                while True:
                    connection, address = server.accept()
                    callers.append(address)
                    connection.close()
            except OSError:  # the server is closed
                return

        threading.Thread(target=wait, daemon=True).start()
        yield server.getsockname()[1], callers
        server.shutdown(socket.SHUT_RDWR)


@fault("a run's artifacts lie on a server of another hand, which would be sent the user's token")
def artifacts_elsewhere(trial: Trial) -> Tally:
    with _listening() as (port, callers):
        trial.environ["MLFLOW_TRACKING_TOKEN"] = "a1b2c3d4e5f6"

        def plant(run: Run, _: Path) -> None:
            with closing(sqlite3.connect(trial.folder / "mlflow.db")) as database, database:
                place = f"http://127.0.0.1:{port}/api/2.0/mlflow-artifacts/artifacts/1"
                database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (place, run.run_id))

        tally = _attacked(trial, plant, "expected artifacts on this machine")
    tally.complaints += [f"connected {len(callers)} times"] if callers else []
    return tally


@fault("a run's artifacts are another folder of this machine, whose files `pack` would hand on")
def artifacts_of_another_folder(trial: Trial) -> Tally:
    """By the store's word, or by a link; with the run's own folder all is packed."""
    secret = trial.with_trained_store().folder.parent / "keys"
    secret.mkdir()
    (secret / "id").write_text(SECRETS[0])
    cell = trial.rng.choice(trial.records().cells)
    own, aside, link = cell.artifacts, cell.artifacts.with_name("aside"), trial.rng.random() < 0.5
    with closing(sqlite3.connect(trial.folder / "mlflow.db")) as database:
        place = "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?"
        if link:
            own.rename(aside)
            own.symlink_to(secret)
        else:
            database.execute(place, (str(secret), cell.run_id))
            database.commit()
        command = trial.start("pack", "-o", "runs.zip")
        trial.expect(command.wait(SECONDS) == 2, f"pack ended with {command.code}: {command.stderr}")
        trial.expect("expected artifacts in a folder of its own" in command.stderr, f"not told: {command.stderr}")
        trial.expect(len(command.stderr.splitlines()) == 1, f"more than a line: {command.stderr}")
        trial.expect(not (trial.folder / "runs.zip").exists(), "an archive was written")
        if link:
            own.unlink()
            aside.rename(own)
        database.execute(place, (str(own), cell.run_id))
        database.commit()
    command = trial.start("pack", "-o", "runs.zip")
    trial.expect(command.wait(SECONDS) == 0, f"pack ended with {command.code}: {command.stderr}")
    return trial.compared()


@fault("a run's configuration asks for a download, a million times")
def download(trial: Trial) -> Tally:
    load = {"_target_": "sklearn.datasets.fetch_california_housing", "n_retries": 10**6, "delay": 60}
    return _attacked(trial, _other_loader(**load), "nothing is downloaded for a run of a store")


# Names


@fault("a dataset whose name is a picture on a server, HTML, a formula, a path and signs of a terminal")
def names(trial: Trial) -> Tally:
    with _listening() as (port, callers):
        name = (
            f"![](http://127.0.0.1:{port}/x.png)<img src=http://127.0.0.1:{port}/y> $\\frac{{1}}{{$ ../../../x | =1+1"
        )
        word = f'"{name}\x1b[2J"'
        before = {path.name for path in trial.folder.parent.iterdir()}
        command = trial.with_store().start(*SWEEP, f"dataset.name={word}", "epochs=5")
        code = command.wait()
        trial.expect(code == 0, f"exit code {code}: {command.stderr}")
        trial.expect("\x1b" not in command.stderr, "an escape reached the terminal")
        new = {path.name for path in trial.folder.parent.iterdir()} - before
        trial.expect(all(one.startswith("stderr-") for one in new), f"written outside: {new}")
        for run in trial.records().runs.values():
            note = run.tags["mlflow.note.content"]
            words = re.sub("(`+).*?[^`]\\1(?!`)", "", note)  # without the command, which is code
            trial.expect("](http" not in words and "<img" not in words, f"a picture in the note: {note[:300]}")
            trial.expect("\x1b" not in run.name + note, "an escape in the store")
        (parent,) = trial.records().parents
        page = (parent.artifacts / "report.html").read_text(encoding="utf8")
        trial.expect(not _loaded(page), f"the page loads {_loaded(page)[:2]}")
        trial.expect("default-src 'none'" in page, "the page has no lock")
        tally = trial.again()
    tally.complaints += [f"connected {len(callers)} times"] if callers else []
    return tally


def _loaded(page: str) -> list[str]:
    """The addresses that a browser would load for a page, but for those that its scripts make."""
    found = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            loading = {"src", "srcset", "poster", "data"} | ({"href"} if tag == "link" else set())
            found.extend(str(value) for name, value in attributes if name in loading)

    Tags().feed(page)
    return [address for address in found if not address.startswith("data:")]


def _raise_with_secrets() -> None:
    from harness.training import Cell

    def train(self):
        raise ValueError(f"password={SECRETS[0]} Authorization: Bearer {SECRETS[1]} {SECRETS[2]}")
        yield

    Cell.train = train


@fault("an error whose message holds a password, a token and a key", bug=True)
def secrets(trial: Trial) -> Tally:
    command = trial.with_store().start(sabotage=_raise_with_secrets)
    code = command.wait()
    trial.expect(code == 1, f"exit code {code}: {command.stderr}")
    kept = command.stderr + "".join(str(run.tags) for run in trial.records().runs.values())
    kept += "".join(path.read_text(errors="replace") for path in trial.folder.rglob("artifacts/**/*.*"))
    found = [secret for secret in SECRETS if secret in kept]
    trial.expect(not found, f"kept: {found}")
    trial.expect("password=***" in kept, "the message is not there")
    return trial.again()
