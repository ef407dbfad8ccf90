"""The servers that pages of docs/ tell a reader to start: each answers, started with the words of its page."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest

ROOT = Path(__file__).parents[1]
LESSONS = (ROOT / "docs" / "lessons.md").read_text(encoding="utf8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf8")
MARIMO = re.findall(r"^marimo .*", LESSONS, re.MULTILINE)
(FILES,) = set(re.findall(r"^python -m http.server .*", LESSONS, re.MULTILINE))
SECONDS = 120
pytestmark = pytest.mark.slow


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server, until the end of the block, in the environment of this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HARNESS_"))}
    env = {**kept, "PATH": path, "PYTHONPATH": str(ROOT)}
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            yield server
        finally:
            os.killpg(server.pid, 15)  # with the processes that it has started
            server.wait()


def answer(server: subprocess.Popen[bytes], url: str, log: Path) -> str:
    """What it says at an address, as soon as it listens."""
    for _ in range(SECONDS):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=30) as said:
                return str(said.read().decode())
        except (URLError, ConnectionError):
            time.sleep(1)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("command", MARIMO)
def test_marimo_serves_a_lesson(command, tmp_path):
    pytest.importorskip("marimo", reason="no marimo (pip install -e '.[lessons]')")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__*__"))
    program, verb, *words = shlex.split(command)
    at = port()
    with started([program, verb, "--headless", "--no-token", "--port", str(at), *words], tmp_path) as server:
        page = answer(server, f"http://127.0.0.1:{at}/", tmp_path / "server.log")
    assert Path(words[0]).stem in page


def test_the_folder_of_pages_is_served(tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("lessons")
    at = port()
    with started([sys.executable, *shlex.split(FILES)[1:], str(at)], tmp_path) as server:
        assert answer(server, f"http://127.0.0.1:{at}/", tmp_path / "server.log") == "lessons"


def test_the_model_answers_the_request_of_the_page(tmp_path):
    """The commands of docs/models.md, one after the other, in one folder; only the port is another."""
    train, serve, ask = re.findall(r"^(?:\$ )?((?:python -m harness|mlflow|curl) .*)", MODELS, re.MULTILINE)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HARNESS_"))}
    words, env = [sys.executable, *shlex.split(train)[1:]], {**kept, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    run_id = re.findall(r"/runs/([0-9a-f]{32})", done.stderr)[-1]
    at = str(port())
    with started(shlex.split(serve.replace("RUN_ID", run_id).replace("5001", at)), tmp_path) as server:
        answer(server, f"http://127.0.0.1:{at}/ping", tmp_path / "server.log")
        said = subprocess.run(shlex.split(ask.replace("5001", at)), capture_output=True, text=True, check=True).stdout
    (row,) = json.loads(said)["predictions"]
    assert row["prediction"] in ("setosa", "versicolor", "virginica")
    assert sum(value for name, value in row.items() if name.startswith("probability_")) == pytest.approx(1)
