"""Who runs this run, and is that process certainly dead?

A process that is killed or loses its power cannot close its runs: they stay RUNNING. So each run carries the identity
of its process, and a later process of the same machine looks whether it is still there. Only certainty counts: a run
that another machine or another container may still be training is left alone, whatever it looks like from here.
"""

import math
import os
import platform
import uuid
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TOLERANCE = 2.0  # seconds; psutil may derive a start time from a boot time that is rounded to seconds


class Process(NamedTuple):
    """What there is under a process id: when it started, and whether it has ended and is only not waited for yet."""

    started: float
    ended: bool


def identity() -> dict[str, str]:
    """Tags that name the current process; a fact that the machine does not tell is an empty string.

    process.boot is Linux's boot id. Elsewhere it is empty: start times there are dates, which no later boot repeats.
    """
    pid = os.getpid()
    return {
        "process.host": _host(),
        "process.boot": _boot(),
        "process.namespace": _namespace(),
        "process.pid": str(pid),
        "process.started": _started(pid),
    }


def is_dead(tags: Mapping[str, str]) -> bool:
    """Whether the process that `identity` described as `tags` is certainly gone; False in every doubt. Never raises."""
    try:
        return _is_dead(tags)
    except Exception:  # tags that are missing or make no sense, a process that may not be looked at: no certainty
        return False


def _is_dead(tags: Mapping[str, str]) -> bool:
    host, boot, namespace = (tags[f"process.{key}"] for key in ("host", "boot", "namespace"))
    pid, started = int(str(tags["process.pid"])), float(tags["process.started"])
    if host != _host() or pid <= 0 or not math.isfinite(started):
        return False
    if boot != _boot():
        return uuid.UUID(boot) != uuid.UUID(_boot())  # raises unless both are boot ids
    if namespace != _namespace():
        return False
    process = _look(pid)
    return process is None or process.ended or abs(process.started - started) > (0 if boot else TOLERANCE)


@cache
def _host() -> str:
    """The host's name and a digest of what tells apart two machines, or two containers, of the same name."""
    node = uuid.getnode()
    hardware = "" if node >> 40 & 1 else f"{node:012x}"  # with this bit it is no address but a number drawn at random
    facts = (platform.node(), _text("/etc/machine-id"), _text("/sys/class/dmi/id/product_uuid"), hardware)
    return f"{platform.node()}-{sha256('|'.join(facts).encode()).hexdigest()[:8]}"


def _boot() -> str:
    return _text(PROC / "sys/kernel/random/boot_id")


def _namespace() -> str:
    """Process ids mean something within a namespace only: a container has its own."""
    try:
        return os.readlink(PROC / "self/ns/pid")
    except OSError:
        return ""


def _text(path: Path | str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _started(pid: int) -> str:
    """In clock ticks since the boot on Linux, else in seconds since 1970; empty when it cannot be told."""
    try:
        process = _look(pid)
    except Exception:  # whatever is wrong with this machine must not stop a training
        return ""
    return repr(process.started) if process else ""


def _look(pid: int) -> Process | None:
    """The process of this id, None when there is none; raises when that cannot be told."""
    return _look_in_proc(pid) if _boot() else _look_with_psutil(pid)


def _look_in_proc(pid: int) -> Process | None:
    """Linux: ticks since the boot are exact, whereas psutil's date moves whenever the clock is set."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        _confirm_absent(pid)
        return None
    fields = stat.rpartition(b")")[2].split()  # from the third on: the second, the name, may hold anything
    return Process(started=float(fields[19]), ended=fields[0] in (b"Z", b"X"))


def _confirm_absent(pid: int) -> None:
    """Raises if /proc only hides the process (hidepid): signal 0 is checked, not sent, and knows of all processes."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    raise PermissionError(f"process {pid} exists and is hidden")


def _look_with_psutil(pid: int) -> Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return Process(process.create_time(), process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return None
