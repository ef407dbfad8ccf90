"""Where joblib's workers come from."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("joblib", reason='hydra/launcher=joblib is an extra: pip install -e ".[joblib]"')

CODE = """
import os
{first}
from harness.app import engines
from harness.app.launchers import Launcher
launcher = Launcher("joblib", 1, {{"n_jobs": 2}})
engines.begin_imports(launcher)
asked = [
    "__import__('os').getppid()",
    "'mlflow.tracking' in __import__('sys').modules",
    "__import__('os').getpid()",
    "len(__import__('os').listdir('/proc/%d/task' % __import__('os').getppid()))",
]
for text in asked:
    print(*{{engines._executor(launcher).submit(eval, text).result() for _ in range(4)}})
print(os.getpid())
engines.end_workers(launcher)
"""


def answers(first, folder):
    command = [sys.executable, "-c", CODE.format(first=first)]
    parents, imported, workers, threads, own = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert imported == "True"
    assert own not in workers.split()
    return parents, own, threads


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libraries do not bear a fork")
def test_the_command_has_one_process_that_imports_for_all_workers(tmp_path):
    parents, own, threads = answers("import harness.__main__", tmp_path)
    assert len(parents.split()) == 1
    assert parents != own
    assert threads == "1"  # a process that has more should not fork


@pytest.mark.slow
def test_those_of_another_program_are_its_own_and_import_for_themselves(tmp_path):
    """Its main module, which may not be made for it, is not run again."""
    parents, own, _ = answers("import harness", tmp_path)
    assert parents == own


@pytest.mark.slow
def test_a_folder_of_a_long_name_leaves_them_to_joblib(tmp_path):
    """The address of the fork server, which lies there, may have 107 letters."""
    (long := tmp_path / ("x" * 120)).mkdir()
    parents, own, _ = answers(f"import harness.__main__, tempfile; tempfile.tempdir = {str(long)!r}", tmp_path)
    assert parents == own


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libraries do not bear a fork")
def test_files_of_the_current_folder_are_no_modules_of_the_workers(tmp_path):
    """As they are none of the command's, which a script begins."""
    (folder := tmp_path / "project").mkdir()
    (folder / "secrets.py").write_text("raise SystemExit")
    script = tmp_path / "bin" / "command"
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom harness.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    words = ["-m", "dataset=iris", "updates=2", "seeds=1", "batch_size=8,16", "hydra/launcher=joblib"]
    done = subprocess.run([sys.executable, script, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert "2 of 2 cells trained" in done.stderr
    assert done.returncode == 0


@pytest.mark.sample(1)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libraries do not bear a fork")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_the_command_while_it_imports_and_says_nothing(tmp_path, number):
    words = ["-m", "harness", "-m", "batch_size=8,16", "hydra/launcher=joblib"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *words], cwd=tmp_path, start_new_session=True, **pipes) as command:
        while command.poll() is None and not (servers := children(command.pid, "forkserver")):
            time.sleep(0.02)
        if command.returncode is None:
            time.sleep(0.3)  # in its imports
            os.killpg(command.pid, number) if number == signal.SIGINT else command.kill()
        said, complained = command.communicate(timeout=60)  # until nobody holds the pipes any more
    assert servers, complained
    assert b"Traceback" not in said + complained
    assert not any(line_of(pid) for pid in servers)


def children(parent, words):
    """The process ids of the children whose command line has these words."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [pid for pid in found if words in line_of(pid)]


def line_of(pid):
    """Empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf8")
    except FileNotFoundError:
        return ""
