"""How a command ends, as a user sees it: on a terminal of 80 columns, in a pipe, without colours, as JSON."""

import json
import os
import re
import sqlite3
import struct
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import pytest

from harness.app.ending import Result
from harness.app.keys import keys
from harness.config import Config
from harness.config.schema import PARTS
from harness.runs.parent import Told
from tests.app.test_command import environment
from tests.synthetic import cell, evidence

CLOCKS = ("epochs", "updates", "train seconds")
TINY = ["dataset=iris", "epochs=2", "seeds=2", "batch_size=16,64"]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(folder, *words, columns=80, **variables):
    """(exit code, what the terminal got) of a command whose streams are a pseudo-terminal of this width."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "harness", *words]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, cwd=folder, env=environment() | variables, **streams)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the last writer has closed its side
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    return process.wait(timeout=60), said.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a sweep."""
    path = tmp_path_factory.mktemp("ended")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "-m", *TINY, "--json"],
        cwd=path, env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path / "out").write_text(done.stdout)
    (path / "err").write_text(done.stderr)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables", [{"TERM": "xterm-256color"}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}], ids=str
)
def test_a_terminal_of_80_columns_shows_the_answer_in_lines_that_fit(folder, variables):
    code, said = on_a_terminal(folder, "-m", *TINY, f"seed={len(str(variables))}", **variables)
    assert code == 0, said
    plain = ESCAPE.sub("", said)
    ended = plain[plain.rindex("2 of 2 cells trained") :]
    lines = ended.replace("\r", "").strip().split("\n")
    assert max(map(len, lines)) <= 80
    assert sum(bool(re.match(r"B=\d+ η=\S+ mean  ", line)) for line in lines) == 2
    report, start, browse = lines[-3:]
    assert (folder / report.removeprefix("Report: ")).is_file()
    assert start == "Start:  python -m harness ui"
    assert re.fullmatch(r"Browse: http://127.0.0.1:5000/#/runs/[0-9a-f]{32}", browse)
    if variables["TERM"] == "dumb":
        assert "\x1b[?25l" not in said  # no live line
        assert not ESCAPE.search(said[said.rindex("2 of 2") :])
    if "NO_COLOR" in variables:
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", said)  # no colour


def test_what_stands_below_the_table_is_broken_at_the_width(monkeypatch, capsys):
    one = evidence(*[cell(b, r, final=0.3 - r) for b in (8, 64) for r in (0.1, 0.2)])
    ui = SimpleNamespace(is_running=True, address=lambda run_id: f"http://127.0.0.1:5000/#/runs/{run_id}")
    store = SimpleNamespace(report_of=lambda run_id: "", ui=ui)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    Result().tell(store, "a" * 32, Told([], one.data, one.answer))
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines[-3:-1]) == ", ".join(f"equal {clock}: no verdict" for clock in CLOCKS)
    assert lines[-1] == f"Browse: http://127.0.0.1:5000/#/runs/{'a' * 32}"


@pytest.mark.slow
def test_a_pipe_gets_plain_lines(folder):
    said = (folder / "err").read_text()
    assert not ESCAPE.search(said)
    assert re.search(r"^training 2 of 2 cells, (about|roughly) \S+ s$", said, re.MULTILINE)
    assert said.splitlines()[-1].startswith("Browse: http://")


@pytest.mark.slow
def test_json_is_one_object_with_the_answer_and_nothing_else(folder):
    told = json.loads((folder / "out").read_text())
    assert (told["exit_code"], told["meaning"].split(":")[0]) == (0, "done")
    assert told["sentences"][0].startswith("iris: ")
    assert {lead["clock"] for lead in told["comparisons"]} == {"epochs", "updates", "train seconds"}
    for lead in told["comparisons"]:
        assert lead["ratio"] > 0
        assert lead["ratio_low"] is None  # of two replicas there is no interval, and JSON has no NaN
        assert lead["standing"] in ("resolved", "tied", "open", "no verdict", "identical")
        assert (lead["winner"] is not None) == (lead["standing"] == "resolved")
    costs = [cell["train_cost"] for cell in told["cells"]]
    assert costs == sorted(costs)
    assert {cell["batch_size"] for cell in told["cells"]} == {16, 64}
    assert (folder / told["report"]).is_file()
    assert told["browse"].startswith("http://127.0.0.1:5000/#/runs/")


def as_json(project, *words):
    code, said = project.run(*words, "--json")
    return code, json.loads(next(line for line in said.splitlines() if line.startswith("{")))


@pytest.mark.slow
def test_json_of_a_single_cell_and_of_a_report(project):
    code, told = as_json(project, "dataset=iris", "epochs=1", "seeds=2")
    assert code == told["exit_code"] == 0
    assert told["comparisons"] == []
    assert [cell["outcome"] for cell in told["cells"]] == ["completed"]
    assert told["browse"].endswith(project.runs("cell")[0].info.run_id)
    project.run("-m", *TINY)
    code, told = as_json(project, "report", project.runs("sweep")[0].info.run_id)
    assert (code, len(told["cells"])) == (0, 2)


@pytest.mark.parametrize(
    ("words", "code", "key", "says"),
    [
        (["batch_size=x"], 2, "error", "batch_size: expected an integer >= 1 or full, got 'x'"),
        (["--help"], 2, "error", "--json: expected a command that trains, `report` or `query`, got '--help'"),
        (["verify", "abc"], 2, "error", "--json: expected a command that trains, `report` or `query`, got 'verify'"),
    ],
)
def test_json_tells_what_is_refused(project, words, code, key, says):
    ended, told = as_json(project, *words)
    assert (ended, told["exit_code"], told[key]) == (code, code, says)
    assert told["meaning"] == "refused: nothing was done"


@pytest.mark.slow
def test_json_of_a_dry_run_is_the_plan(project):
    _, told = as_json(project, "-m", *TINY, "dry_run=true")
    assert told["plan"][-1].startswith("2 cells, 0 done, about ")


def test_a_single_cell_shows_its_row_and_its_own_page(project):
    code, said = project.run("dataset=iris", "epochs=1", "seeds=2", "seed=7")
    assert code == 0, said
    assert re.search(r"^B=64 η=0.1 mean  \S+", said, re.MULTILINE)
    assert said.splitlines()[-1] == f"Browse: http://127.0.0.1:5000/#/runs/{project.runs('cell')[-1].info.run_id}"
    _, again = project.run("dataset=iris", "epochs=1", "seeds=2", "seed=7")
    assert again.splitlines()[-1] == said.splitlines()[-1]


CHOSEN = {"dataset.name", "dataset.task", "dataset.load", "optimizer.name"}  # with a group


def test_help_says_what_each_key_means():
    said = keys()
    leaves = [field.name for field in fields(Config) if field.name not in PARTS]
    leaves += [f"{part}.{field.name}" for part, kind in PARTS.items() for field in fields(kind)]
    for key in set(leaves) - CHOSEN:
        assert re.search(rf"^{re.escape(key)}: .*# \S+", said, re.MULTILINE), key


def test_help_shows_the_keys(project):
    with pytest.raises(SystemExit):
        project.run("--help")
    said = project.capsys.readouterr().out
    assert "batch_size: 64              # examples per update" in said
    assert "--json" in said
    assert "python -m harness ui" in said


STRUCK = """
import os, signal, sys
from harness.store import claims, writer
owner = {{"heartbeat": claims.Heartbeat, "writer": writer.RunWriter}}["{where}"]
name = {{"heartbeat": "__enter__", "writer": "__exit__"}}["{where}"]
own, struck = getattr(owner, name), []
def strike(self, *arguments):
    if not struck:
        struck.append(os.kill(os.getpid(), signal.SIGTERM))
    return own(self, *arguments)
setattr(owner, name, strike)
from harness.__main__ import main
sys.argv = ["harness", "-m", *{words}]
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["writer", "heartbeat"])
def test_a_signal_between_the_parent_and_its_first_cell_closes_the_parent(where, tmp_path):
    program = STRUCK.format(where=where, words=TINY)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 143, done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",)]


STRUCK_TWICE = """
import os, signal, sys
from harness.runs import parent, recovery
from harness.training import Stack
own, struck = Stack.advance, []
def strike(self, update):
    os.kill(os.getpid(), signal.SIGINT)
    return own(self, update)
def again(*arguments, **options):
    if not struck:
        struck.append(os.kill(os.getpid(), signal.SIGINT))
    return closing(*arguments, **options)
Stack.advance = strike
closing = getattr({where}, "{name}")
setattr({where}, "{name}", again)
from harness.__main__ import main
sys.argv = ["harness", "-m", *{words}]
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name"), [("recovery", "drain"), ("parent", "close_sweep"), ("parent", "write_answer")]
)
def test_a_second_signal_while_a_sweep_is_closed_leaves_nothing_open(where, name, tmp_path):
    program = STRUCK_TWICE.format(where=where, name=name, words=TINY)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert {status for (status,) in database.execute("select status from runs")} == {"KILLED"}


OBSTRUCTED = """
import sys
from pathlib import Path
from harness.runs import timing
from harness.store import tracking, writer
tracking.REFUSAL_SECONDS = 1.0  # after which it gives up
writer.RunWriter.deliver.__defaults__ = (0.0, 1.0)
own = timing.measure
def measure(store, sweep, cells):
    Path("mlruns/1", sweep, "artifacts", timing.TIMING, "in the way").mkdir(parents=True)
    return own(store, sweep, cells)
timing.measure = measure
from harness.__main__ import main
sys.argv = ["harness", "-m", *{words}]
sys.exit(main())
"""


@pytest.mark.slow
def test_a_sweep_of_which_one_file_is_refused_has_its_answer(tmp_path):
    program = OBSTRUCTED.format(words=TINY)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "refuses a part of 1 run: artifacts" in done.stderr
    assert "2 of 2 cells trained" in done.stderr
    (report,) = tmp_path.glob("mlruns/1/*/artifacts/report.html")
    assert (report.parent / "grid.json").is_file()
