"""MLflow's UI: the addresses of its pages, and a server of it for the store of the current folder."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from harness.config import ConfigError
from harness.store import opening, ui_plugin

if TYPE_CHECKING:
    from mlflow.entities import Run

LOCAL = "http://127.0.0.1:{}"
PORT = 5000  # of `mlflow ui`, if nothing else has it
START_SECONDS = 180.0  # MLflow imports a lot, and a new store is migrated
ENDING_SECONDS = 10.0  # that the server may take to end


class UI:
    """Addresses of an experiment's pages. Not documented: changed, a link opens the UI's start page."""

    def __init__(self, store_uri: str, experiment_id: str) -> None:
        self.is_server = store_uri.startswith("http")  # a server is its own UI
        self._port = None if self.is_server else running_port(store_uri)
        self.root = store_uri.rstrip("/") if self.is_server else LOCAL.format(self._port or PORT)
        self._experiment = f"{self.root}/#/experiments/{experiment_id}/runs"

    @property
    def is_running(self) -> bool:
        """Whether the addresses can be opened now: by a server, or while `harness ui` runs."""
        return self.is_server or self._port is not None

    def address(self, run_id: str) -> str:
        """The page of one run, as short as MLflow has it: of fewer letters than a line of a terminal."""
        return f"{self.root}/#/runs/{run_id}"

    def run_link(self, run_id: str) -> str:
        """The page of one run, in the model-training view."""
        return f"{self._experiment}/{run_id}?workflowType=machine_learning"

    def within(self, sweep: str | None = None) -> str:
        """An address relative to every page of the UI: of the cells of a sweep, or of all runs."""
        runs = f"#{self._experiment.partition('#')[2]}"
        return f"{runs}?workflowType=machine_learning&viewStateShareKey={sweep}" if sweep else runs

    def table_link(self, sweep: str | None = None) -> str:
        """The table of all runs in the model-training view; of a sweep, its cells as `view_tag` saved them."""
        return f"{self._experiment}?workflowType=machine_learning" + (f"&viewStateShareKey={sweep}" if sweep else "")


def report_place(ui: UI, run: "Run", name: str) -> str:
    """A file of a run: its path, short from the current folder, or an address of the server that gives it."""
    if ui.is_server:
        return f"{ui.root}/get-artifact?path={name}&run_uuid={run.info.run_id}"
    place = urlsplit(run.info.artifact_uri)
    if place.scheme not in ("", "file"):
        return f"{name} among the artifacts of run {run.info.run_id}"
    file = Path(unquote(place.path) if place.scheme else run.info.artifact_uri) / name
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def running_port(store_uri: str) -> int | None:
    """The port on which `harness ui` serves this store now."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads(_state_file(store_uri).read_text(encoding="ascii"))
        port = int(state["port"])
        os.kill(int(state["pid"]), 0)
        return port if _answers(port) else None
    return None


def _state_file(store_uri: str) -> Path:
    digest = hashlib.sha256(store_uri.encode()).hexdigest()[:16]
    return opening.lock_folder() / f"harness-{opening.user()}-{digest}.ui"


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


@contextmanager
def serving(store_uri: str, shown_uri: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve a store while the context is open; the server answers when it begins. Raises ConfigError.

    store_uri goes to MLflow in its environment: other users of the machine see command lines. shown_uri: the same,
    without secrets.
    """
    port, state = _free_port(), _state_file(shown_uri)
    words = ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--app-name", ui_plugin.NAME] if ui_plugin.is_installed() else []
    variables = {"MLFLOW_BACKEND_STORE_URI": store_uri, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    alone = os.name == "posix"  # Ctrl-C then reaches this process only, which ends the other
    with tempfile.TemporaryFile() as log:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        server = subprocess.Popen(
            [sys.executable, *words], env=os.environ | variables, start_new_session=alone, **streams
        )
        try:
            _wait_until_it_answers(server, port, log)
            state.write_text(json.dumps({"port": port, "pid": os.getpid()}), encoding="ascii")
            yield server
        finally:
            with suppress(OSError):
                state.unlink(missing_ok=True)
            _end(server)


def _free_port() -> int:
    for port in (PORT, 0):
        with suppress(OSError), socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return int(listener.getsockname()[1])
    raise ConfigError("ui", "a free port on 127.0.0.1", "none")


def _wait_until_it_answers(server: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            raise ConfigError("ui", "MLflow's UI to start (`mlflow ui` says more)", lines[-1])
        time.sleep(0.1)


def _end(server: "subprocess.Popen[bytes]") -> None:
    """The server and its workers: they are a group of processes of their own."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with suppress(OSError):
            os.killpg(server.pid, number) if os.name == "posix" else server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(ENDING_SECONDS)
            if number == signal.SIGTERM and not _group_lives(server.pid):
                return


def _group_lives(group: int) -> bool:
    with suppress(OSError, AttributeError):
        os.killpg(group, 0)
        return True
    return False
