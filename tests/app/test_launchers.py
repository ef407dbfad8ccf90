"""Sweeps by joblib, Ray and submitit: what is refused, the same bits as in one process, workers that die.

The slow tests run real sweeps, each launcher's in a folder of its own; SLURM is played by fake_slurm.py.
"""

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.app import composition, engines, launchers, ray_cluster
from harness.app.composition import checked_cells
from harness.app.launchers import Launcher
from harness.config import ConfigError

ROOT = Path(__file__).parents[2]
SWEEP = ["-m", "dataset=iris", "epochs=3", "seeds=3", "batch_size=8,16,32", "reduction=sum,mean", "learning_rate=0.01"]
CLOCKS = ("seconds", "_us", "time")  # in the names of columns


def environment(**more: str) -> dict[str, str]:
    """As a user's, with nothing that points MLflow elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "RAY"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "1", **more}


def harness(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=400)


def tables(uri: str) -> dict[str, dict[str, object]]:
    """Signature -> every table of a finished cell without its clocks, the bytes of its weights, its status."""
    from mlflow.artifacts import download_artifacts

    from harness.store.client import Client

    client, found = Client(uri), {}
    for run in client.search_runs(["1"], "tags.kind = 'cell'"):
        folder = Path(download_artifacts(run.info.artifact_uri, tracking_uri=uri))
        cell: dict[str, object] = {"status": run.info.status, "launcher": run.data.tags["launcher"]}
        for file in sorted(folder.glob("*.csv")):
            table = pd.read_csv(file)
            cell[file.name] = table[[name for name in table if not any(clock in name for clock in CLOCKS)]]
        for file in folder.glob("weights.npz"):
            with np.load(file) as arrays:
                cell["weights"] = {name: array.tobytes() for name, array in arrays.items()}
        found[run.data.tags["signature"]] = cell
    return found


def assert_same(found: dict[str, dict[str, object]], serial: dict[str, dict[str, object]], launcher: str) -> None:
    assert found.keys() == serial.keys()
    for signature, cell in found.items():
        assert cell.keys() == serial[signature].keys()
        assert {"history.csv", "replicas.csv", "fingerprints.csv", "weights"} <= cell.keys()
        assert (cell.pop("status"), cell.pop("launcher")) == ("FINISHED", launcher)
        for name, own in cell.items():
            if isinstance(own, pd.DataFrame):
                pd.testing.assert_frame_equal(own, serial[signature][name], check_exact=True, obj=name)
            else:
                assert own == serial[signature][name], name


def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("words", "key", "allowed"),
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=1000"], "hydra.launcher.n_jobs", "-1 or 1 .. "),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs", "-1 or 1 .. "),
        (["hydra/launcher=ray", "hydra.launcher.n_jobs=2", "threads=1000"], "threads", "at most "),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=x"], "hydra.launcher.timeout_min", "integer"),
        (
            ["hydra/launcher=submitit_slurm", "cells_per_job=1", "hydra.launcher.max_array_size=1"],
            "cells_per_job",
            "enough for 1 jobs",
        ),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=all"], "hydra.launcher.mem_gb", "a number > 0"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.setup=x"], "hydra.launcher.setup", "[TEXT, ...]"),
        (["hydra/launcher=ray", "hydra.launcher.ray=null"], "hydra.launcher.ray", "{NAME: VALUE, ...}"),
        (
            ["hydra/launcher=ray", "~hydra.launcher.ray.init"],
            "hydra.launcher.ray.init",
            "a value: hydra.launcher.ray.init=...",
        ),
        (["hydra/launcher=joblib", "~hydra.launcher.n_jobs"], "hydra.launcher.n_jobs", "a value"),
        (["hydra/launcher=joblib", "hydra.launcher.name=ray"], "hydra.launcher.ray", "{NAME: VALUE, ...}"),
        (["hydra/launcher=joblib", "hydra.launcher.name=dask"], "hydra/launcher", "joblib | ray"),
        (
            ["hydra/launcher=joblib", "+hydra.launcher.njobs=1"],
            "hydra.launcher.njobs",
            "did you mean hydra.launcher.n_jobs?",
        ),
        (["+hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs", "hydra/launcher=joblib has n_jobs"),
        (["hydra/launcher=ray", "+hydra.launcher.ray.remot.memory=1"], "hydra.launcher.ray.remot", "ray.remote?"),
        (["cells_per_job=0"], "cells_per_job", "an integer >= 1, or auto"),
        (["cells_per_job=many"], "cells_per_job", "an integer >= 1, or auto"),
    ],
)
def test_what_a_launcher_cannot_do_is_refused_before_anything_is_trained(monkeypatch, words, key, allowed):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    with pytest.raises(ConfigError) as refused:
        checked_cells(["-m", "batch_size=1,2", *words])
    assert refused.value.key == key
    assert allowed in refused.value.allowed


def options_of(name: str) -> dict:
    """Those of its file."""
    return yaml.safe_load((ROOT / "conf" / "hydra" / "launchers" / f"{name}.yaml").read_text(encoding="utf8"))


def judged(name: str, options: dict, threads: int = 1) -> Launcher:
    """The launcher with these options, as the command checks them."""
    composition._check_shape(options_of(name), options)
    return launchers.checked(Launcher(name, threads, options), 2, "auto")


WRONG = ([1], [None], {"a": 1}, {"a": [1]}, {1: 2}, math.nan, math.inf, -1.5, True, "", -7)


KEYS = [(name, key) for name in launchers.EXTRAS for key in options_of(name) if key not in ("name", "ray")]


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_an_option_of_another_type_is_refused_in_one_line(monkeypatch, name, key):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    for value in WRONG:
        if (key, value) != ("additional_parameters", {"a": 1}):
            with pytest.raises(ConfigError, match=rf"^hydra.launcher.{key}: expected [^\n]+$"):
                judged(name, {**options_of(name), key: value})


def test_what_sbatch_takes_is_not_refused(monkeypatch):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    own = {"partition": "night", "account": 1234, "mem_gb": 0.5, "setup": ["module load python"]}
    own |= {"additional_parameters": {"constraint": "avx512", "nice": 10, "exclusive": True}}
    assert judged("submitit_slurm", options_of("submitit_slurm") | own).options.items() >= own.items()
    with pytest.raises(ConfigError, match=r"hydra.launcher.mem_gb: .*at least 0.001"):  # else 0: all of a node's
        judged("submitit_slurm", options_of("submitit_slurm") | {"mem_gb": 1e-4})


def of_ray(remote: dict | None = None, threads: int = 1, **init: object) -> Launcher:
    """Ray with these arguments of ray.init and ray.remote, checked."""
    ray = {"init": {"address": None, **init}, "remote": remote or {}}
    return judged("ray", {**options_of("ray"), "ray": ray}, threads)


@pytest.mark.parametrize("n_cpus", [64, 9, 1, 0, -1, "abc", None, 4.0, True, [4]])
def test_a_ray_cluster_of_this_machine_has_the_cores_of_this_machine_at_most(monkeypatch, n_cpus):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    with pytest.raises(ConfigError, match=r"^hydra.launcher.ray.init.num_cpus: expected an integer from 2 .* to 8 "):
        of_ray(threads=2, num_cpus=n_cpus)
    assert of_ray(threads=2, num_cpus=6).workers == 3
    with pytest.raises(ConfigError, match=r"^hydra.launcher.ray.init.num_cpus: expected nothing beside .*address"):
        of_ray(address="auto", num_cpus=n_cpus)


@pytest.mark.parametrize("address", [5, [1], "", "local", True])
def test_an_address_of_ray_is_one(monkeypatch, address):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    with pytest.raises(ConfigError, match=r"^hydra.launcher.ray.init.address: expected null .*, auto, HOST:PORT"):
        of_ray(address=address)


def test_a_cluster_with_fewer_cores_than_a_cell_needs_may_grow(monkeypatch):
    monkeypatch.setattr(ray_cluster, "cores", lambda launcher: 1)
    assert Launcher("ray", threads=2).workers == 1


@pytest.mark.parametrize(
    ("remote", "allowed"),
    [
        ({"num_cpus": 8}, "threads=N instead"),
        ({"num_returns": 2}, "one value"),
        ({"placement_group": "x"}, "resources instead"),
        ({"scheduling_strategy": "x"}, "DEFAULT or SPREAD"),
        ({"foo": 1}, "Invalid option keyword foo"),
        ({"memory": "abc"}, "'memory' must be"),
        ({"memory": math.inf}, "infinity"),
        ({"num_gpus": -1}, "negative"),
        ({"resources": {"x": "a"}}, "what ray.remote takes"),
    ],
)
def test_what_ray_remote_does_not_take_is_refused_before_anything_starts(remote, allowed):
    ray = pytest.importorskip("ray")
    for address in (None, "auto"):
        with pytest.raises(ConfigError) as refused:
            of_ray(remote, address=address)
        assert refused.value.key == f"hydra.launcher.ray.remote.{next(iter(remote))}"
        assert allowed in refused.value.allowed
        assert "\n" not in str(refused.value)
    assert not ray.is_initialized()
    assert of_ray({"memory": 2e9, "max_retries": 2, "scheduling_strategy": "SPREAD"}).workers


@pytest.mark.parametrize(
    "remote",
    [
        {"num_gpus": 1},
        {"memory": 2e12},
        {"resources": {"x": 1}},
        {"accelerator_type": "A100"},
        {"label_selector": {"zone": "a"}},
    ],
    ids=lambda remote: next(iter(remote)),
)
def test_jobs_that_would_wait_for_what_the_cluster_does_not_have_are_refused(remote):
    there = {"CPU": 2.0, "memory": 1e9}
    with pytest.raises(ConfigError, match=rf"^hydra.launcher.ray.remote.{next(iter(remote))}: expected at most what "):
        ray_cluster._check_there(remote, there)
    ray_cluster._check_there({"memory": 1e9, "resources": None, "num_gpus": None, "max_retries": 2}, there)
    ray_cluster._check_there(
        remote, {"GPU": 1, "memory": 4e12, "x": 1, "accelerator_type:A100": 1, "nodes with labels": 1}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("+hydra.launcher.ray.remote.resources={x: 1}", "hydra.launcher.ray.remote.resources: expected at most"),
        ("+hydra.launcher.ray.init.resources=[1]", "hydra.launcher.ray.init: expected arguments"),
    ],
    ids=["a job that would wait without end", "what ray.init stumbles over"],
)
def test_what_only_ray_itself_knows_is_told_in_one_line(tmp_path, word, told):
    pytest.importorskip("ray")
    done = harness(tmp_path / "x", *SWEEP, "hydra/launcher=ray", word)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"harness: {told}")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_workers_and_their_threads_are_at_most_the_cores(monkeypatch):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    for name in ("joblib", "ray", "submitit_local"):
        for threads, workers in ((1, 8), (3, 2), (8, 1)):
            launcher = checked_cells(["-m", "batch_size=1,2", f"threads={threads}", f"hydra/launcher={name}"]).launcher
            assert launcher.workers == workers


def test_a_ray_cluster_that_does_not_answer_is_told_at_once():
    pytest.importorskip("ray")
    address = f"127.0.0.1:{free_port()}"
    launcher = checked_cells(
        ["-m", "batch_size=1,2", "hydra/launcher=ray", f"hydra.launcher.ray.init.address={address}"]
    )
    with pytest.raises(ConfigError, match=r"hydra.launcher.ray.init.address: .*that answers"):
        launcher.launcher.start()


class Process:
    """One of this machine, as psutil tells of it."""

    def __init__(self, *cmdline: str) -> None:
        self.info = {"cmdline": list(cmdline)}


def test_auto_means_a_ray_cluster_that_answers_or_is_refused_at_once(tmp_path, monkeypatch):
    """Named by the environment, running on this machine, or the one that was begun last."""
    running: list[Process] = [Process(), Process("vi", "--gcs-address=127.0.0.1:1")]
    monkeypatch.setattr("psutil.process_iter", lambda names: iter(running))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def refused() -> str:
        with pytest.raises(ConfigError) as error:
            ray_cluster._check_answers({"address": "auto"})
        assert error.value.key == "hydra.launcher.ray.init.address"
        return str(error.value)

    assert "`ray start --head` begins one" in refused()
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{(dead := free_port())}\n", encoding="utf8")
    assert f"auto, which is 127.0.0.1:{dead}" in refused()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        lives = f"127.0.0.1:{listening.getsockname()[1]}"
        running.append(Process("/x/raylet", "--node_id=1", f"--gcs-address={lives}"))
        ray_cluster._check_answers({"address": "auto"})  # Ray takes the only one that runs, whatever the file says
        running.append(Process("/x/raylet", "--gcs-address=127.0.0.1:1"))
        assert f"auto, which is 127.0.0.1:{dead}" in refused()
        monkeypatch.setenv("RAY_ADDRESS", lives)
        ray_cluster._check_answers({"address": "auto"})
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    assert "auto, which is 127.0.0.1:2" in refused()


def test_slurm_needs_its_commands(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="sbatch"):
        Launcher("submitit_slurm").start()


def test_what_a_preset_misspells_is_refused_and_what_ray_and_sbatch_take_besides_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(launchers, "find_spec", lambda name: True)
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    preset = tmp_path / "hydra" / "launcher" / "mine.yaml"
    words = ["-m", "--config-dir", str(tmp_path), "batch_size=1,2", "hydra/launcher=mine"]
    preset.write_text("defaults: [submitit_slurm]\npartitoin: night\n", encoding="utf8")
    with pytest.raises(ConfigError, match=r"hydra.launcher.partitoin: .*did you mean hydra.launcher.partition\?"):
        checked_cells(words)
    preset.write_text("defaults: [submitit_slurm]\nadditional_parameters: {constraint: avx512}\n", encoding="utf8")
    assert checked_cells(words).launcher.options["additional_parameters"] == {"constraint": "avx512"}
    pytest.importorskip("ray")
    preset.write_text("defaults: [ray]\nray: {init: {namespace: mine}, remote: {memory: 1}}\n", encoding="utf8")
    assert checked_cells(words).launcher.options["ray"]["init"]["namespace"] == "mine"


def test_jobs_that_will_be_ended_before_they_are_done_are_told():
    slurm = Launcher("submitit_slurm", options={"timeout_min": 60, "array_parallelism": 9, "max_array_size": 1000})
    jobs = slurm.planned([3000.0] * 2000, "auto")
    sentence = slurm.too_long([3000.0 * len(job) for job in jobs])
    assert sentence.startswith("1000 of 1000 jobs take longer, by the estimate, than hydra.launcher.timeout_min=60 ")
    assert "up to 100 minutes" in sentence
    assert not slurm.too_long([3000.0])
    assert not Launcher("joblib", options={"n_jobs": 2}).too_long([1e9])


def test_what_sbatch_refuses_is_told_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    launcher = checked_cells(["-m", "batch_size=1,2", "hydra/launcher=submitit_slurm"]).launcher
    with pytest.raises(ConfigError, match=r"hydra.launcher: .* got .*invalid partition specified: x"):
        launcher.run([int])
    assert not list((tmp_path / "mlruns" / "submitit").iterdir())  # no scripts of jobs that nobody runs


def test_a_preset_of_the_user_is_a_launcher_too(tmp_path):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    text = "defaults: [joblib]\nn_jobs: 1\n"
    (tmp_path / "hydra" / "launcher" / "mine.yaml").write_text(text, encoding="utf8")
    words = ["-m", "--config-dir", str(tmp_path), "batch_size=1,2", "hydra/launcher=mine"]
    launcher = checked_cells(words).launcher
    assert (launcher.name, launcher.workers) == ("joblib", 1)


def test_results_are_collected_until_all_jobs_have_ended():
    ended = []

    def lost():
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        engines._all([lost, lambda: ended.append(1), lambda: ended.append(2)])
    assert ended == [1, 2]


@pytest.fixture(scope="session")
def serial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    done = harness(folder, *SWEEP)
    assert done.returncode == 0, done.stderr
    found = tables(store(folder))
    assert len(found) == 6
    return found


SERIAL = pytest.mark.xdist_group("serial")


@SERIAL
@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("joblib", "joblib"), ("ray", "ray"), ("submitit_local", "submitit")])
def test_a_sweep_has_the_same_bits_by_every_launcher(serial, tmp_path, name, package):
    pytest.importorskip(package)
    (tmp_path / "home").mkdir()
    done = harness(tmp_path / "x", *SWEEP, f"hydra/launcher={name}", "cells_per_job=2", HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert_same(tables(store(tmp_path / "x")), serial, name)
    said = done.stderr.splitlines()
    begun, ended = (next(i for i, line in enumerate(said) if line.startswith(words)) for words in (
        "training 6 of 6 cells", "6 of 6 cells trained"))  # fmt: skip
    assert all(re.fullmatch(r"\d of 6 cells, about .* left", line) for line in said[begun + 1 : ended])  # no banner
    files = {file.name for file in (tmp_path / "home").rglob("*") if file.is_file()}
    assert not any("token" in file or "ray" in file for file in files), files


@contextmanager
def slurm(folder: Path):
    """The environment of a machine with SLURM."""
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct"):
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_slurm.py")} {name} "$@"\n')
        file.chmod(0o755)
    yield {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder)}


@SERIAL
@pytest.mark.slow
def test_slurm_gets_an_array_of_jobs_with_the_bits_of_one_process(serial, tmp_path):
    pytest.importorskip("submitit")
    words = ["cells_per_job=2", "hydra.launcher.array_parallelism=2", "hydra.launcher.partition=night", "threads=1"]
    with slurm(tmp_path / "bin") as more:
        done = harness(tmp_path / "x", *SWEEP, "hydra/launcher=submitit_slurm", *words, **more)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "bin" / "sbatch.sh").read_text(encoding="utf8").splitlines()
    asked = {"--array=0-2%2", "--cpus-per-task=1", "--partition=night", "--time=60", "--job-name=harness"}
    assert {f"#SBATCH {option}" for option in asked} <= set(script)
    assert_same(tables(store(tmp_path / "x")), serial, "submitit_slurm")
    assert not list((tmp_path / "x" / "mlruns" / "submitit").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("joblib", "joblib"), ("ray", "ray"), ("submitit_local", "submitit")])
def test_a_worker_that_dies_costs_its_own_cell_and_not_its_pack(tmp_path, name, package):
    """Whatever process trains B=16 is killed; the cells behind it in its pack are trained by another."""
    pytest.importorskip(package)
    path = os.pathsep.join([str(ROOT / "tests" / "faults" / "poison"), str(ROOT)])
    words = ["-m", "dataset=iris", "epochs=9", "seeds=2", "batch_size=8,16,32,64,full", "cells_per_job=3"]
    done = harness(tmp_path, *words, f"hydra/launcher={name}", PYTHONPATH=path)
    assert done.returncode == 1, done.stderr
    assert "4 of 5 cells trained" in done.stderr
    assert "1 killed: iris B=16" in done.stderr
    assert "Traceback" not in done.stderr
    assert "raylet" not in done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def running(folder: Path, *command: str, **more: str):
    """A program of its own in a folder, ended with SIGTERM."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(**more), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    pytest.fail(f"nobody listens at {port}")


@SERIAL
@pytest.mark.slow
def test_workers_elsewhere_need_the_address_of_the_store_and_nothing_else(serial, tmp_path):
    """A Ray cluster that was started in another folder, without a variable of MLflow's, and an `mlflow server`."""
    pytest.importorskip("ray")
    store_port, ray_port = free_port(), free_port()
    uri, address = f"http://127.0.0.1:{store_port}", f"127.0.0.1:{ray_port}"
    serve = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(store_port)]
    serve += ["--backend-store-uri", "sqlite:///x.db", "--artifacts-destination", str(tmp_path / "server" / "files")]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={ray_port}"]
    ray += ["--num-cpus=2", "--include-dashboard=false"]
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with running(tmp_path / "server", *serve), running(tmp_path / "node", *ray, **quiet):
        wait_for(store_port)
        wait_for(ray_port)
        words = [*SWEEP, "hydra/launcher=ray", f"hydra.launcher.ray.init.address={address}"]
        done = harness(tmp_path / "laptop", *words, MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stderr
        assert_same(tables(uri), serial, "ray")
    assert (tmp_path / "node" / "mlruns" / "undelivered").is_dir()  # here the workers kept their journals
    assert not list((tmp_path / "node").rglob("*.csv"))
    assert not list((tmp_path / "laptop").rglob("*.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["joblib", "ray", "submitit"])
def test_an_extra_resolves_with_the_constraints(extra):
    """Needs the package index, and installs nothing."""
    words = ["install", "--dry-run", "--quiet", "--ignore-installed", "-e", f"{ROOT}[{extra}]", "-c"]
    command = [sys.executable, "-m", "pip", *words, str(ROOT / "constraints.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_the_private_name_of_ray_is_where_it_was():
    """Changed, Ray says on standard output that a worker died: `--json` would not be one JSON object."""
    worker = pytest.importorskip("ray._private.worker")
    assert callable(worker.print_to_stdstream)
