"""The installed package as a user has it: the wheel in an environment of its own, commands in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from harness import __version__

ROOT = Path(__file__).parents[2]
SOURCES = ("harness", "conf", "experiments", "pyproject.toml", "README.md", "LICENSE")
SMALL = ["dataset=iris", "epochs=2", "seeds=2"]
STUDY = """
study:
  name: mine
  question: Does it run?
  claims:
    M1: {says: It runs., source: me, measure: whether, supported: it does., refuted: it does not.}
  grids:
    - {dataset: iris, batch_size: "8,16", epochs: 2, seeds: 2}
hydra:
  mode: MULTIRUN
"""
JUDGE = """
from harness.analysis import Finding
from harness.inference import Verdict

def judge(evidence):
    yield Finding("M1", Verdict.SUPPORTED, f"{len(evidence.cells)} cells ran.")
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the sources as they are, not from what an earlier build left beside them."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    build = "import hatchling.build as b, sys; b.build_sdist(sys.argv[1]); b.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, dist], cwd=source, check=True, capture_output=True)
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of an environment that has the wheel; its dependencies are those of the environment of the tests."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if Path(p).name == "site-packages"))
    install = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, *install], check=True)
    return environment


@pytest.fixture
def run(installed, tmp_path):
    """Run a command in an empty folder; it must succeed. Returns what it printed on stdout and stderr."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "PYTHON"))}
    environ = {**kept, "PATH": f"{installed / 'bin'}:{kept['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "1"}

    def command(*words: str, code: int = 0) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return command


def test_the_wheel_has_all_files_and_a_sdist_makes_the_same(wheel, tmp_path):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"harness/{p.relative_to(ROOT)}" for folder in ("conf", "experiments") for p in ROOT.glob(f"{folder}/**/*.*")
    }
    suffixes = ("py", "js", "css", "typed")
    expected |= {str(p.relative_to(ROOT)) for suffix in suffixes for p in ROOT.glob(f"harness/**/*.{suffix}")}
    assert {name for name in names if name.startswith("harness/")} == {n for n in expected if "__pycache__" not in n}
    shutil.unpack_archive(next(wheel.parent.glob("*.tar.gz")), tmp_path)
    build = "import hatchling.build as b; b.build_wheel('.')"
    (unpacked,) = tmp_path.iterdir()
    subprocess.run([sys.executable, "-c", build], cwd=unpacked, check=True, capture_output=True)
    assert (unpacked / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("start", [["harness"], ["python", "-m", "harness"]], ids=" ".join)
def test_a_sweep_writes_into_the_current_folder_only(run, installed, tmp_path, start):
    before = {path for path in installed.rglob("*") if "__pycache__" not in path.parts}
    where = run("python", "-c", "import harness; print(harness.__file__)")
    assert where.startswith(str(installed))
    assert "3 of 3 cells trained" in run(*start, "-m", "batch_size=1,64,512", *SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlruns", "multirun"}
    assert {path for path in installed.rglob("*") if "__pycache__" not in path.parts} == before


def test_questions_are_answered(run, tmp_path):
    assert run("harness", "--version") == f"harness {__version__}\n"
    assert "batch_size: 64" in run("harness", "--help")
    assert "three_methods: Which of stochastic" in run("harness", "studies")
    assert re.search(r"\d+ cells, 0 done", run("harness", "experiment=three_methods", "size=small", "dry_run=true"))


def test_a_study_of_the_current_folder_is_found(run, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text(STUDY)
    (tmp_path / "experiments" / "mine.py").write_text(JUDGE)
    said = run("harness", "studies", "mine")
    assert "M1 supported" in said
    assert "mine: Does it run?" in run("harness", "studies")


def test_bash_completes_the_command(run):
    complete = 'COMP_LINE="harness $1"; COMP_CWORD=1; hydra_bash_completion; echo "${COMPREPLY[@]}"'
    script = f'eval "$(harness -sc install=bash)"; {complete}'
    keys = [f"learning_rate{key}=" for key in ("", "_rule", "_schedule")]
    assert run("bash", "-c", script, "bash", "learning_r").split() == keys
    assert "dataset=digits" in run("bash", "-c", script, "bash", "dataset=d").split()
    assert "experiment=three_methods" in run("bash", "-c", script, "bash", "experiment=th").split()
    assert run("bash", "-c", script, "bash", "ver").split() == ["verify"]


def test_the_installed_package_trains_from_python(run, tmp_path):
    program = (
        "import harness; print(harness.train('iris', epochs=1, seeds=2));"
        "print(harness.sweep({'batch_size': [8, 64]}, 'iris', epochs=1, seeds=2))"
    )
    said = run("python", "-c", program)
    assert "iris B=64 η=0.1 mean: completed" in said
    assert "iris batch_size=8,64: 2 cells" in said
    assert list(tmp_path.iterdir()) == []
