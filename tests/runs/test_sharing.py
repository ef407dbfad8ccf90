"""A command beside others that train cells of its own: it waits, adopts what they finish, trains what they give up."""

import time
from types import SimpleNamespace

import pytest

from harness.runs import sharing
from harness.runs.grid import GridCell
from harness.store import UnreachableError, claims, sweep_tag
from harness.store.processes import process_tags
from harness.training import Identity


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(sharing, "POLL_SECONDS", 0.01)


def cell(name):
    return GridCell(SimpleNamespace(rerun="missing"), [name], Identity(name, {}, "", "", None), f"cell {name}")


def run(name, pid="1234"):
    """An open run of a process on a host that cannot be asked."""
    info = SimpleNamespace(
        run_id=f"run of {name}", start_time=(time.time() - 12) * 1000, status="RUNNING", run_name=name
    )
    tags = {**process_tags(), "process.host": "laptop-12345678", "process.pid": pid, claims.HEARTBEAT: "1"}
    return SimpleNamespace(info=info, data=SimpleNamespace(tags={**tags, "signature": name}))


class Store:
    """A store in which other commands do this at the n-th look: `script` gives their open runs and finished cells."""

    uri = "the store"

    def __init__(self, *script):
        self.script, self.killed, self.now = list(script), [], None

    def claimed_cells(self):
        self.now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if self.now == "away":
            raise UnreachableError("away")
        return {name: run(name) for name in self.now["open"] if name not in self.killed}

    def finished_cell(self, signature):
        return run(signature) if signature in self.now.get("finished", "") else None

    def has_ended(self, one):
        return False

    def mark_killed(self, one):
        self.killed.append(one.data.tags["signature"])


class Command:
    """Passes over a cell at its first try if another command has it then."""

    def __init__(self, store, others):
        self.store, self.others = store, set(others)
        self.launched, self.found, self.said = [], [], []

    def train(self, cells):
        self.launched.append("".join(one.signature for one in cells))
        passed = [one for one in cells if one.signature in self.others]
        self.others.clear()
        return passed

    def run(self, names):
        sharing.train_shared([cell(n) for n in names], self.store, self.train, self.found.append, self.said.append)
        return self


def test_alone_nothing_is_asked_of_the_store():
    command = Command(Store("away"), "").run("abc")
    assert (command.launched, command.found, command.said) == (["abc"], [], [])


def test_what_another_command_finishes_is_adopted_and_the_wait_is_said_once():
    store = Store({"open": "bc"}, {"open": "bc"}, {"open": "c", "finished": "b"}, {"open": "", "finished": "bc"})
    command = Command(store, "bc").run("abc")
    assert command.launched == ["abc"]
    assert command.found == ["run of b", "run of c"]
    assert command.said == [
        "waiting for 2 cells that another command trains: cell b by process 1234 on laptop, for 12 s so far; "
        "cell c by process 1234 on laptop, for 12 s so far"
    ]


def test_what_another_command_gives_up_is_trained_at_once():
    """While c is still trained elsewhere."""
    store = Store({"open": "bc"}, {"open": "c"}, {"open": "", "finished": "c"})
    command = Command(store, "bc").run("abc")
    assert command.launched == ["abc", "b"]
    assert command.found == ["run of c"]


def test_a_cell_whose_owner_is_silent_for_the_lease_is_closed_and_trained(monkeypatch):
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.2)
    store = Store({"open": "b"})
    began = time.monotonic()
    command = Command(store, "b").run("ab")
    assert time.monotonic() - began > 0.2
    assert store.killed == ["b"]
    assert command.launched == ["ab", "b"]


def test_a_store_that_is_away_ends_the_wait_in_one_line():
    command = Command(Store({"open": "b"}, "away"), "b").run("ab")
    assert command.launched == ["ab"]
    assert command.said[-1] == "the store does not answer (away): no longer waiting for the cells of other commands"


def test_many_cells_are_counted_and_few_named():
    store = Store({"open": "abcdefgh"}, {"open": "", "finished": "abcdefgh"})
    command = Command(store, "abcdefgh").run("abcdefgh")
    (said,) = command.said
    assert said.startswith("waiting for 8 cells that another command trains: cell a by ")
    assert said.endswith("; and 5 more")


@pytest.mark.slow
def test_two_commands_in_one_store_train_a_cell_once_and_both_have_it(project, monkeypatch):
    """The second command starts while the first trains: here, inside its first record."""
    from harness.runs import parent, recording
    from harness.training import Cell

    monkeypatch.setattr(recording, "draw_cell", lambda *unused: None)
    monkeypatch.setattr(parent, "figures", lambda *unused: {})
    words = ("-m", "batch_size=16,32", "dataset=iris", "epochs=2", "seeds=2", "model.hidden=[4]")
    train, ends = Cell.train, []

    def interrupting(one):
        records = train(one)
        yield next(records)
        if not ends:
            ends.append(None)
            with monkeypatch.context() as other:  # it has no time to wait: the first goes on when it has ended
                other.setattr(sharing, "_wait", lambda *unused: ([], []))
                ends.append(project.run(*words))
        yield from records

    monkeypatch.setattr(Cell, "train", interrupting)
    code, said = project.run(*words)
    assert code == 0
    assert "2 of 2 cells trained (1 by other commands meanwhile)" in said
    assert ends[1][0] == 1
    assert "1 of 2 cells trained in" in ends[1][1]
    assert [one.info.status for one in project.runs("cell")] == ["FINISHED"] * 2
    assert sweep_tag(project.runs("sweep")[0].info.run_id) in project.runs("cell")[1].data.tags
