"""`python -m harness` as processes that can be killed at any moment.

Importing MLflow, scikit-learn and matplotlib takes longer than most of the trials. So the command is forked from a
process (multiprocessing's forkserver) that has imported them and done nothing else. It is a process group of its own.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
LIBRARIES = [
    "alembic.command", "bokeh.embed", "bokeh.layouts", "bokeh.models", "bokeh.plotting", "bokeh.resources", "filelock",
    "harness.app.train", "harness.runs", "hydra._internal.core_plugins", "jinja2", "markdown_it",
    "matplotlib.backends.backend_agg", "matplotlib.pyplot", "mlflow", "mlflow.store.artifact.http_artifact_repo",
    "mlflow.store.artifact.local_artifact_repo",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_workspace_store", "pandas",
    "PIL.JpegImagePlugin", "PIL.PpmImagePlugin", "pyarrow.pandas_compat", "rich.progress", "scipy.stats",
    "sklearn.compose", "sklearn.datasets", "sklearn.model_selection", "sklearn.pipeline", "sqlalchemy.dialects.sqlite",
]  # fmt: skip
SECONDS = 300.0  # that a command may take; the longest of a trial takes a third of it on an idle machine


def environment(**more: str) -> dict[str, str]:
    """As a user's, with nothing that points MLflow elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "PYTEST"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", **more}


class Command:
    """A command that has been started in a folder; what it says on stderr goes to a file beside the folder."""

    def __init__(
        self, folder: Path, words: Sequence[str], environ: Mapping[str, str], sabotage: Callable[[], None] | None = None
    ) -> None:
        self._file = folder.parent / f"stderr-{time.monotonic_ns()}"
        self.started = time.monotonic()
        self._process = _forkserver().Process(target=_run, args=(folder, words, environ, self._file, sabotage))
        self._process.start()
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self.code is None

    @property
    def is_stopped(self) -> bool:
        """By SIGSTOP."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def code(self) -> int | None:
        """As subprocess has it: -9 after SIGKILL."""
        return self._process.exitcode

    @property
    def stderr(self) -> str:
        return self._file.read_text(encoding="utf8") if self._file.exists() else ""

    def wait(self, seconds: float = SECONDS) -> int:
        """Its exit code; a command that does not end is killed and is an error."""
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.code is None:
            self.signal_group(signal.SIGKILL)
            raise TimeoutError(f"still running after {seconds:.0f} s:\n{self.stderr}")
        return self.code

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """The command and its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _forkserver():
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # of the server, before it imports MLflow
    context = get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


def _run(
    folder: Path, words: Sequence[str], environ: Mapping[str, str], file: Path, sabotage: Callable[[], None] | None
) -> None:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):  # the faults themselves may run after `nohup`; and until the first
        signal.signal(number, signal.SIG_DFL)  # line of the harness a signal ends a process without a word
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.argv = ["harness", *words]
    code = 1
    try:
        from harness.app import main

        if sabotage:
            sabotage()
        code = main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    for worker in psutil.Process().children():  # joblib's own end comes with atexit, which multiprocessing leaves out
        worker.kill()
    sys.stderr.flush()
    os._exit(code)
