"""Which process runs a run, and whether that process is certainly dead: a killed process cannot end its runs.

On Linux /proc is read, elsewhere psutil. psutil would not do on Linux: its start times are dates that move when the
clock is set, and it takes a process that /proc hides (hidepid) for one that does not exist.
"""

import math
import os
import platform
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

PROC = Path("/proc")
START_TOLERANCE = 2.0  # seconds; without /proc, psutil may derive a start time from a boot time rounded to seconds


def command_lines() -> list[list[str]]:
    """Of the processes of this machine, the words of each that has some and lets them be read."""
    import psutil

    return [words for process in psutil.process_iter(["cmdline"]) if (words := process.info["cmdline"])]


def process_tags() -> dict[str, str]:
    """Tags that name the current process; a fact that cannot be found out is an empty string.

    process.boot is Linux's boot id. Elsewhere it is empty: start times there are dates, which no later boot repeats.
    """
    facts = {"host": _host(), "boot": _boot(), "namespace": _namespace(), "pid": str(os.getpid()), "started": ""}
    with suppress(Exception):  # whatever is wrong with this machine must not stop a training
        facts["started"] = repr(_started(os.getpid()))
    return {f"process.{key}": fact for key, fact in facts.items()}


def is_dead(tags: Mapping[str, str]) -> bool:
    """Whether the process with these `process_tags` is certainly gone; False in every doubt. Never raises."""
    with suppress(Exception):  # tags that are missing or malformed, a process that may not be inspected
        host, boot, namespace = (tags[f"process.{key}"] for key in ("host", "boot", "namespace"))
        pid, started = int(str(tags["process.pid"])), float(tags["process.started"])
        if host != _host() or pid <= 0 or not math.isfinite(started):
            return False
        if boot != _boot():
            return uuid.UUID(boot) != uuid.UUID(_boot())  # raises unless both are boot ids
        if namespace == _namespace():
            found = _started(pid)
            return found is None or abs(found - started) > (0 if boot else START_TOLERANCE)
    return False


def is_of_this_machine(tags: Mapping[str, str]) -> bool:
    """Whether these `process_tags` name a process whose end this one would see: same host and namespace."""
    return all(tags.get(f"process.{key}") == own() for key, own in (("host", _host), ("namespace", _namespace)))


def described(tags: Mapping[str, str]) -> str:
    """A process for people: its id and its host's name, without the digest."""
    host = tags.get("process.host", "").rpartition("-")[0]
    return f"process {tags.get('process.pid', '?')} on {host or 'an unknown host'}"


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
    """A process id is unique within its namespace only: a container has its own."""
    with suppress(OSError):
        return os.readlink(PROC / "self/ns/pid")
    return ""


def _text(path: Path | str) -> str:
    with suppress(OSError, ValueError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""


def _started(pid: int) -> float | None:
    """When the process of this id started: clock ticks since the boot on Linux, else seconds since 1970.

    None if there is none, or a zombie: ended, and its parent has not waited for it. Raises if that cannot be found out.
    """
    if not _boot():
        import psutil

        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
        return None
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        with suppress(ProcessLookupError):
            os.kill(pid, 0)  # sends nothing, and sees processes that /proc hides (hidepid)
            raise PermissionError(f"process {pid} exists and is hidden") from None
        return None
    fields = stat.rpartition(b")")[2].split()  # from the third on: the second, the name, may hold any characters
    return None if fields[0] in (b"Z", b"X") else float(fields[19])
