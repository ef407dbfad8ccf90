"""Ray's cluster: it is started or joined, and what it cannot do is refused before a job waits for it."""

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config import ConfigError
from harness.store import command_lines

if TYPE_CHECKING:
    from harness.app.launchers import Launcher

CONNECTION_SECONDS = 10.0  # that a cluster may take to answer
QUIET = {  # of a Ray cluster on this machine
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # nobody else reaches it; or else a token is written to the home folder
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
NOT_OF_A_JOB = {  # arguments of ray.remote that would break a job, or let it wait for ever: what to do instead
    "num_cpus": "nothing: a job has as many cores as `threads`, so threads=N instead",
    "num_returns": "nothing: a job returns one value",
    "placement_group": "nothing: a group is no text; resources instead",
}
STRATEGIES = ("DEFAULT", "SPREAD", None)  # of scheduling; Ray looks at them when a job is sent only


def _import_ray(launcher: "Launcher") -> Any:
    """Ray reads what keeps it quiet when it is imported."""
    for name, value in QUIET.items() if launcher.is_here else ():
        os.environ.setdefault(name, value)
    import ray

    return ray


def check_remote(launcher: "Launcher") -> None:
    """Raises ConfigError for an argument of ray.remote that Ray does not take, or that no job may have."""
    for name, value in launcher.options["ray"]["remote"].items():
        key = f"hydra.launcher.ray.remote.{name}"
        if name in NOT_OF_A_JOB:
            raise ConfigError(key, f"{NOT_OF_A_JOB[name]} (~{key})", value)
        if name == "scheduling_strategy" and value not in STRATEGIES:
            raise ConfigError(key, "DEFAULT or SPREAD", value)
        try:
            _import_ray(launcher).remote(**{name: value})(_line)
        except Exception as error:  # Ray's checks raise what comes
            raise ConfigError(key, f"what ray.remote takes ({_line(error)})", value) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def start(launcher: "Launcher") -> None:
    options, own = launcher.options["ray"]["init"], launcher.is_here
    ray = _import_ray(launcher)
    if ray.is_initialized():
        return
    if not own:
        _check_answers(options)
    more = {"num_cpus": launcher.options["n_jobs"] * launcher.threads, "include_dashboard": False} if own else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        address = "local" if own else options["address"]  # or else Ray looks for a cluster of another command
        ray.init(**{"log_to_driver": False, "logging_level": logging.ERROR, **more, **options, "address": address})
    except Exception as error:  # Ray's checks raise what comes
        allowed = f"arguments with which ray.init begins ({_line(error)})"
        raise ConfigError("hydra.launcher.ray.init", allowed, options) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray has put one of its own
    ray._private.worker.print_to_stdstream = lambda *told, **how: None  # else it prints on stdout that a worker died
    if own:
        _check_there(launcher.options["ray"]["remote"], ray.cluster_resources())


def _check_there(remote: dict[str, Any], there: dict[str, float]) -> None:
    """Raises ConfigError for what the cluster of this command does not have: a job would wait for it without end.

    there: resources of the cluster.
    """
    kind = f"accelerator_type:{remote.get('accelerator_type')}"
    asked = [("num_gpus", "GPU", remote.get("num_gpus")), ("memory", "memory", remote.get("memory"))]
    asked += [("resources", name, amount) for name, amount in (remote.get("resources") or {}).items()]
    asked += [("accelerator_type", kind, remote.get("accelerator_type") and 0.001)]  # as much as Ray asks for
    asked += [("label_selector", "nodes with labels", 1 if remote.get("label_selector") else 0)]
    for key, name, amount in asked:
        if (amount or 0) > (most := there.get(name, 0)):
            larger = "hydra.launcher.ray.init.address names a larger cluster"
            allowed = f"at most what Ray has on this machine ({name}: {most:.15g}; {larger})"
            raise ConfigError(f"hydra.launcher.ray.remote.{key}", allowed, remote[key])


def _check_answers(options: dict[str, Any]) -> None:
    """Raises ConfigError: Ray itself would wait for minutes, and tell of each attempt in three lines."""
    key, address = "hydra.launcher.ray.init.address", options["address"]
    try:
        if address == "auto" and not (address := _meant_by_auto(options.get("_temp_dir"))):
            allowed = "auto where a Ray cluster runs (`ray start --head` begins one), or HOST:PORT of one"
            raise ConfigError(key, allowed, "auto")
        host, _, port = address.rpartition("//")[2].rpartition(":")
        if port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), CONNECTION_SECONDS).close()
    except (OSError, OverflowError) as error:
        allowed = "HOST:PORT of a Ray cluster that answers (`ray start --head` begins one)"
        got = address if address == options["address"] else f"auto, which is {address}"
        raise ConfigError(key, allowed, got) from error


def _meant_by_auto(folder: str | None) -> str:
    """The address that Ray takes: of the environment, the only cluster here, or the one begun last; empty for none.

    folder: of Ray's files, if it is not where they are by default.
    """
    if (address := os.environ.get("RAY_ADDRESS", "")) not in ("", "auto"):
        return "" if address == "local" else address
    words = {word for line in command_lines() if "raylet" in os.path.basename(line[0]) for word in line}
    running = [word.partition("=")[2] for word in words if word.startswith("--gcs-address=")]
    if len(running) == 1:
        return running[0]
    temporary = os.environ.get("TMPDIR", "/tmp") if sys.platform == "linux" else "/tmp"
    default = Path(os.environ.get("RAY_TMPDIR", temporary), "ray")
    file = Path(f"{folder or default}", "ray_current_cluster")
    return file.read_text(encoding="utf8").strip() if file.exists() else next(iter(running), "")


def cores(launcher: "Launcher") -> int:
    """Of the cluster, once it is there; before, what is planned, which of another cluster nobody knows."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return int(sys.modules["ray"].cluster_resources().get("CPU", 1))
    init = launcher.options["ray"]["init"]
    return int(init.get("num_cpus") or launcher.options["n_jobs"] * launcher.threads)
