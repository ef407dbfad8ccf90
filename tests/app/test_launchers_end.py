"""Ctrl-C and SIGTERM under each launcher: one exit code, no open run, no process that goes on."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
LONG = ["-m", "dataset=digits", "epochs=2000", "seeds=1", "diagnostics=off", "batch_size=1,2,4,8"]
MARK = "HARNESS_TEST_MARK"  # a variable that every process of the command inherits


def statuses(folder: Path, kind: str) -> list[str]:
    """Of the runs of a kind in the store."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'mlflow.db'}?mode=ro", uri=True)) as store:
            query = "SELECT status FROM runs JOIN tags USING (run_uuid) WHERE key = 'kind' AND value = ?"
            return [status for (status,) in store.execute(query, [kind])]
    except sqlite3.OperationalError:  # not there yet
        return []


def marked(mark: str) -> list[psutil.Process]:
    """Living processes with the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(holds, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return bool(held)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
@pytest.mark.parametrize(("name", "package"), [("joblib", "joblib"), ("ray", "ray"), ("submitit_local", "submitit")])
def test_a_signal_ends_the_command_and_all_that_it_started(tmp_path, name, package, number):
    """A terminal sends Ctrl-C to all processes of the command, `kill` sends SIGTERM to one."""
    pytest.importorskip(package)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "RAY"))}
    environ = {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "1", MARK: str(tmp_path)}
    command = [sys.executable, "-m", "harness", *LONG, f"hydra/launcher={name}"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=said, start_new_session=True)
    try:
        assert wait_until(lambda: "RUNNING" in statuses(tmp_path, "cell"), 300), (tmp_path / "said").read_text()
        assert len(marked(str(tmp_path))) > 1
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        assert process.wait(120) == 128 + number
        assert "Traceback" not in (tmp_path / "said").read_text()
        assert set(statuses(tmp_path, "cell")) == {"KILLED"}
        assert statuses(tmp_path, "sweep") == ["KILLED"]
        assert wait_until(lambda: not marked(str(tmp_path)), 20), marked(str(tmp_path))
    finally:
        for one in marked(str(tmp_path)):
            one.kill()
        process.wait(10)
