"""Only dead processes count as dead: killed, zombie, before a power cut, pid taken again; none that may still live."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.store import processes
from harness.store.processes import described, is_dead, is_of_this_machine, process_tags

SAY_AND_SLEEP = """
import json, sys, time
from harness.store.processes import process_tags
print(json.dumps(process_tags()), flush=True)
sys.stdin.read()
"""
KEYS = sorted(process_tags())
LINUX = sys.platform == "linux"
only_linux = pytest.mark.skipif(not LINUX, reason="reads /proc")


@pytest.fixture
def child():
    """A process that has said who it is and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", SAY_AND_SLEEP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        process.tags = json.loads(process.stdout.readline())
        yield process
        process.kill()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A machine without /proc: psutil answers."""
    monkeypatch.setattr(processes, "PROC", tmp_path)


@pytest.fixture
def dead(child):
    """Tags of a process that is gone."""
    child.kill()
    child.wait()
    return child.tags


def test_tags_are_text():
    tags = process_tags()
    assert KEYS == ["process.boot", "process.host", "process.namespace", "process.pid", "process.started"]
    assert all(isinstance(value, str) for value in tags.values())
    assert tags == process_tags()
    assert json.loads(json.dumps(tags)) == tags


def test_a_live_process_is_not_dead(child):
    assert child.tags["process.pid"] == str(child.pid)
    assert not is_dead(process_tags())
    assert not is_dead(child.tags)


def test_a_killed_process_is_dead(dead):
    assert is_dead(dead)


@only_linux
def test_a_killed_process_that_nobody_waited_for_is_dead(child):
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert os.path.exists(f"/proc/{child.pid}")
    assert is_dead(child.tags)


@only_linux
def test_a_stopped_process_is_not_dead(child):
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert not is_dead(child.tags)


@pytest.mark.parametrize("shift", [-1000.0, -3.0, 3.0, 1000.0])
def test_a_pid_that_was_taken_by_another_process_is_dead(shift):
    tags = process_tags()
    assert is_dead(tags | {"process.started": repr(float(tags["process.started"]) + shift)})


@only_linux
def test_one_tick_of_the_clock_is_another_process():
    tags = process_tags()
    assert is_dead(tags | {"process.started": repr(float(tags["process.started"]) + 1)})


@only_linux
def test_after_a_power_cut_nothing_lives():
    """Not even in another container, or under a pid that is taken again."""
    tags = process_tags() | {"process.boot": str(uuid.uuid4())}
    assert is_dead(tags)
    assert is_dead(tags | {"process.namespace": "pid:[1]"})


def test_another_namespace_of_the_same_boot_is_never_dead(dead):
    assert not is_dead(dead | {"process.namespace": "pid:[1]"})
    assert not is_dead(process_tags() | {"process.namespace": "pid:[1]", "process.started": "1.0"})


@given(
    st.text().filter(lambda host: host != process_tags()["process.host"]), st.uuids().map(str), st.integers(1, 2**22)
)
def test_another_host_is_never_dead(host, boot, pid):
    tags = process_tags() | {"process.host": host, "process.pid": str(pid)}
    assert not is_dead(tags)
    assert not is_dead(tags | {"process.boot": boot})


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in KEYS for value in ("", "x", "nan", "inf", None, "\0", "1" * 5000)]
    + [("process.pid", value) for value in ("0", "-1", "-4194305", "3.5", 3.5, "9" * 30)],
    ids=lambda value: repr(value)[:20],
)
def test_a_tag_that_makes_no_sense_is_no_certainty(dead, key, value):
    assert is_dead(dead | {key: value}) == (value == dead[key])  # where there is no boot id, an empty one makes sense


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_tag_is_no_certainty(dead, key):
    assert not is_dead({name: value for name, value in dead.items() if name != key})
    assert not is_dead({})


@given(st.dictionaries(st.sampled_from(KEYS), st.text() | st.none() | st.integers() | st.floats()))
def test_garbage_never_raises(tags):
    assert not is_dead(tags)
    is_dead(process_tags() | tags)


FORK = """
import os
from harness.store.processes import process_tags, is_dead
mother = process_tags()
read, write = os.pipe()
wait, go = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(go)
    os.write(write, repr(process_tags()).encode())
    os.read(wait, 1)
    os._exit(0 if not is_dead(mother) else 1)
child = eval(os.read(read, 4096))
assert child["process.pid"] == str(pid) and child["process.host"] == mother["process.host"], child
assert not is_dead(child)
os.close(go)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
assert is_dead(child)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert is_dead(child) and not is_dead(mother)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_is_a_process_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@only_linux
def test_a_program_may_have_any_name(tmp_path, child):
    """Linux writes it in parentheses in front of the fields that are read."""
    program = tmp_path / "a) Z 1 (b) Z"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        while b") Z" not in (stat := Path(f"/proc/{process.pid}/stat").read_bytes()):
            time.sleep(0.01)  # until it has become that program
        started = stat.rpartition(b")")[2].split()[19].decode()
        tags = process_tags() | {"process.pid": str(process.pid), "process.started": started}
        assert not is_dead(tags)
        process.kill()
    assert is_dead(tags)


@only_linux
def test_a_process_that_proc_hides_is_not_dead(monkeypatch, tmp_path, child):
    """As with hidepid=2, for the processes of other users."""
    boot, namespace = tmp_path / "sys/kernel/random/boot_id", tmp_path / "self/ns/pid"
    boot.parent.mkdir(parents=True)
    namespace.parent.mkdir(parents=True)
    boot.write_text(child.tags["process.boot"] + "\n")
    namespace.symlink_to(child.tags["process.namespace"])
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert process_tags()["process.started"] == ""
    assert not is_dead(child.tags)
    child.kill()
    child.wait()
    assert is_dead(child.tags)


def test_without_proc_a_live_process_is_not_dead(elsewhere):
    tags = process_tags()
    assert tags["process.boot"] == tags["process.namespace"] == ""
    assert not is_dead(tags)
    assert not is_dead(tags | {"process.started": repr(float(tags["process.started"]) + 1)})


def test_without_proc_the_dead_are_found(elsewhere, child):
    import psutil

    tags = process_tags() | {
        "process.pid": str(child.pid),
        "process.started": repr(psutil.Process(child.pid).create_time()),
    }
    assert not is_dead(tags)
    assert is_dead(tags | {"process.started": repr(float(tags["process.started"]) - 60)})
    child.kill()
    child.wait()
    assert is_dead(tags)


def test_without_proc_a_boot_cannot_be_told_from_another(elsewhere):
    assert not is_dead(process_tags() | {"process.boot": str(uuid.uuid4())})


def test_a_network_address_drawn_at_random_is_left_out(monkeypatch):
    """Python draws one where it finds no hardware address: another in every process."""
    hosts = []
    for node in (0x01_00_00_00_00_01, 0x01_00_00_00_00_02):
        monkeypatch.setattr(uuid, "getnode", lambda node=node: node)
        processes._host.cache_clear()
        hosts.append(process_tags()["process.host"])
    processes._host.cache_clear()
    assert hosts[0] == hosts[1]


def test_a_look_at_a_process_is_cheap():
    tags = process_tags()
    started = time.process_time()
    for _ in range(100):
        is_dead(tags)
    assert time.process_time() - started < 1


def test_processes_of_this_machine_are_those_whose_end_is_seen(child):
    assert is_of_this_machine(process_tags())
    assert is_of_this_machine(child.tags)
    for other in ("process.host", "process.namespace"):
        assert not is_of_this_machine({**process_tags(), other: "other"})
    assert not is_of_this_machine({})


def test_a_process_is_described_by_its_number_and_the_name_of_its_host():
    assert described({"process.pid": "12", "process.host": "my-laptop-0123abcd"}) == "process 12 on my-laptop"
    assert described({}) == "process ? on an unknown host"
