"""Where joblib's workers come from."""

import subprocess
import sys

import pytest

pytest.importorskip("joblib", reason='hydra/launcher=joblib is an extra: pip install -e ".[joblib]"')

CODE = """
import os
{first}
from harness.app import engines
from harness.app.launchers import Launcher
launcher = Launcher("joblib", 1, {{"n_jobs": 2}})
engines.begin_imports(launcher)
asked = ["__import__('os').getppid()", "'mlflow.tracking' in __import__('sys').modules", "__import__('os').getpid()"]
for text in asked:
    print(*{{engines._executor(launcher).submit(eval, text).result() for _ in range(4)}})
print(os.getpid())
engines.end_workers(launcher)
"""


def answers(first, folder):
    command = [sys.executable, "-c", CODE.format(first=first)]
    parents, imported, workers, own = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert imported == "True"
    assert own not in workers.split()
    return parents, own


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libraries do not bear a fork")
def test_the_command_has_one_process_that_imports_for_all_workers(tmp_path):
    parents, own = answers("import harness.__main__", tmp_path)
    assert len(parents.split()) == 1
    assert parents != own


def test_those_of_another_program_are_its_own_and_import_for_themselves(tmp_path):
    """Its main module, which may not be made for it, is not run again."""
    assert len(set(answers("import harness", tmp_path))) == 1


def test_a_folder_of_a_long_name_leaves_them_to_joblib(tmp_path):
    """The address of the fork server, which lies there, may have 107 letters."""
    (long := tmp_path / ("x" * 120)).mkdir()
    assert len(set(answers(f"import harness.__main__, tempfile; tempfile.tempdir = {str(long)!r}", tmp_path))) == 1
