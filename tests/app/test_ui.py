"""`harness ui` where the store is a server, or is not there: an address, or one line."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from harness.app import main, verbs

SWEEP = "0123456789abcdef0123456789abcdef"


def answer(path):
    """What a tracking server with one sweep says."""
    if "experiments" in path:
        return {"experiment": {"experiment_id": "3", "name": "harness", "lifecycle_stage": "active"}}
    info = {"run_id": SWEEP, "experiment_id": "3", "status": "FINISHED", "artifact_uri": "mlflow-artifacts:/3"}
    return {"runs": [{"info": info, "data": {"tags": [{"key": "kind", "value": "sweep"}]}}]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(answer(self.path)).encode()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, *unused: object) -> None:
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run_ui(uri, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", "ui"])
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    return code, said.err.strip()


def test_a_server_is_its_own_ui(server, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(verbs.webbrowser, "open", opened.append)
    assert run_ui(server, tmp_path, monkeypatch, capsys) == (0, f"Browse: {server}/#/runs/{SWEEP}")
    assert opened == []  # nobody sees a screen: stderr is no terminal


def test_the_page_opens_where_somebody_sees_the_screen(server, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(verbs.webbrowser, "open", opened.append)
    monkeypatch.setattr(verbs, "_has_display", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run_ui(server, tmp_path, monkeypatch, capsys)
    assert opened == [f"{server}/#/runs/{SWEEP}"]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("http://127.0.0.1:9", "a store that answers (connection refused: start the server, or unset MLFLOW_TRACK"),
        ("sqlite:///nothing.db", "the address of a store, or a current folder that"),
        ("sqlite:////no/such/folder/mlflow.db", "the address of a store, or a current folder that"),
        (None, "a current folder that holds one (mlflow.db)"),
    ],
)
def test_no_store_is_one_line_and_nothing_is_made(uri, told, tmp_path, monkeypatch, capsys):
    code, said = run_ui(uri, tmp_path, monkeypatch, capsys)
    assert code == 2
    assert said.startswith("harness: MLFLOW_TRACKING_URI: expected ")
    assert told in said
