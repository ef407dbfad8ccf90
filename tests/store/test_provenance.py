"""The commit, and patches of uncommitted changes that git can apply."""

import os
import subprocess

import pytest

from harness.store import provenance
from harness.store.provenance import commit, uncommitted_diff


def git(folder, *arguments, **settings):
    """What git says; a failure fails the test."""
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    done = subprocess.run(command, capture_output=True, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed checkout, laid out like the harness's own, that `commit` takes for it."""
    root = tmp_path / "mon projet: été"
    return make_project(root, root, monkeypatch)


def make_project(repository, root, monkeypatch):
    for folder in ("harness", "conf", "experiments", "docs"):
        (root / folder).mkdir(parents=True)
    (root / "harness" / "__init__.py").write_text("# a package\n")
    (root / "harness" / "train.py").write_text("".join(f"line {i}\n" for i in range(50)) + "\n \n")
    (root / "conf" / "config.yaml").write_bytes(b"seed: 0\r\nepochs: 1\r\n")
    (root / "docs" / "figure.png").write_bytes(b"\0png")
    (root / ".gitignore").write_text("*.log\n/mlruns/\n")
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "PACKAGE", root / "harness")
    return root


def files(root):
    """Contents, modes and links of all that is not git's own."""
    found = [path for path in root.rglob("*") if ".git" not in path.parts and not (path.is_dir())]
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else (path.read_bytes(), os.access(path, 1))
        for path in found
    }


def applied(patch, repository, tmp_path):
    """A clean clone of the repository to which git has applied the patch."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    git(clone, "apply", "--whitespace=nowarn", "-", input=patch.encode())
    return clone


def everything(root):
    """All bytes below a folder, git's own too."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def headers(patch):
    """The lines in front of the first file."""
    return patch[: patch.find("diff --git")].splitlines()


def test_a_clean_checkout_has_no_diff(project):
    assert commit() == git(project, "rev-parse", "HEAD").decode().strip()
    assert uncommitted_diff() == ""


def test_git_apply_gives_every_file_back(project, tmp_path):
    """Changed, deleted, staged and untracked; blank lines at the end, CRLF, no newline, odd names, modes, links."""
    (project / "harness" / "train.py").write_text("first\n" + "".join(f"line {i}\n" for i in range(50)) + "\n \n")
    (project / "conf" / "config.yaml").write_bytes(b"seed: 1\r\nepochs: 1\r\n")
    (project / ".gitignore").unlink()
    (project / "harness" / "staged.py").write_text("staged\n")
    git(project, "add", "harness/staged.py")
    (project / "harness" / "-new η [x] *.py").write_text("η = 0.1\n\n \n\t")
    (project / "harness" / "diff.py").write_text(
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\nBinary files a and b\r\n"
    )
    (project / "experiments" / "new" / "deep").mkdir(parents=True)
    (project / "experiments" / "new" / "deep" / "study.yaml").write_text("question: who wins?")
    (project / "experiments" / "empty").touch()
    (project / "conf" / "run.sh").write_text("#!/bin/sh\n")
    (project / "conf" / "run.sh").chmod(0o755)
    (project / "conf" / "link").symlink_to("nowhere")
    patch = uncommitted_diff()
    assert headers(patch) == []
    assert files(applied(patch, project, tmp_path)) == files(project)


def test_untracked_files_of_the_project_only(project):
    for name in ("harness/new.py", "conf/new.yaml", "experiments/new.yaml", "docs/new.md", "new.txt", "conf/new.log"):
        (project / name).write_text("new\n")
    (project / "mlruns").mkdir()
    (project / "mlruns" / "x").write_text("new\n")
    added = [line for line in uncommitted_diff().splitlines() if line.startswith("+++ ")]
    assert added == ["+++ b/conf/new.yaml", "+++ b/experiments/new.yaml", "+++ b/harness/new.py"]


def test_a_folder_may_be_missing(project):
    (project / "experiments").rmdir()
    (project / "conf" / "new.yaml").write_text("new\n")
    assert "+++ b/conf/new.yaml" in uncommitted_diff()


def test_what_git_could_not_apply_is_named(project, tmp_path):
    """Binary files, whether tracked or not, bytes that are no UTF-8, files above a megabyte, other repositories."""
    (project / "docs" / "figure.png").write_bytes(b"\0changed")
    (project / "conf" / "weights.npz").write_bytes(b"\0\1\2")
    (project / "conf" / "latin.yaml").write_bytes(b"\xe9t\xe9\n")
    (project / "conf" / "large.csv").write_bytes(b"1,2\n" * 250_001)
    (project / "conf" / "large.log").write_bytes(b"1,2\n" * 250_001)
    (project / "conf" / "l*.csv").write_bytes(b"1,2\n" * 3)
    (project / "harness" / "other").mkdir()
    git(project / "harness" / "other", "init", "-q")
    git(project / "harness" / "other", "commit", "-qm", "x", "--allow-empty")
    patch = uncommitted_diff()
    assert headers(patch) == [
        "# left out: 'conf/large.csv': 1000004 bytes",
        "# left out: 'harness/other/': a repository of its own",
        "# left out: a/conf/latin.yaml b/conf/latin.yaml: not UTF-8",
        "# left out: a/conf/weights.npz b/conf/weights.npz: binary",
        "# left out: a/docs/figure.png b/docs/figure.png: binary",
    ]
    assert (applied(patch, project, tmp_path) / "conf" / "l*.csv").read_bytes() == b"1,2\n" * 3


def test_a_binary_file_alone_makes_a_checkout_dirty(project):
    (project / "conf" / "weights.npz").write_bytes(b"\0\1\2")
    assert uncommitted_diff() == "# left out: a/conf/weights.npz b/conf/weights.npz: binary\n"


def test_changes_above_a_megabyte_are_named(project):
    (project / "harness" / "train.py").write_text("x\n" * 500_000)
    assert headers(uncommitted_diff() + "diff --git")[0].startswith(
        "# left out: a/harness/train.py b/harness/train.py: changes"
    )


def test_the_checkout_is_only_read(project):
    (project / "harness" / "train.py").touch()  # git would like to note the new date in its index
    (project / "harness" / "new.py").write_text("new\n")
    (project / "harness" / "empty.py").touch()
    before = everything(project)
    assert "new.py" in uncommitted_diff()
    assert everything(project) == before
    assert git(project, "status", "--short").decode().split() == ["??", "harness/empty.py", "??", "harness/new.py"]


@pytest.mark.parametrize(
    "setting", ["diff.noprefix", "diff.mnemonicPrefix", "color.ui=always", "diff.external=false", "diff.relative"]
)
def test_settings_of_the_user_do_not_matter(project, tmp_path, setting):
    key, _, value = setting.partition("=")
    git(project, "config", key, value or "true")
    (project / "harness" / "train.py").write_text("changed\n")
    (project / "harness" / "new.py").write_text("new\n")
    assert files(applied(uncommitted_diff(), project, tmp_path)) == files(project)


def test_variables_that_git_sets_for_its_hooks_do_not_matter(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "no-index"))
    (project / "harness" / "new.py").write_text("new\n")
    assert "+++ b/harness/new.py" in uncommitted_diff()


def test_a_project_in_a_folder_of_a_larger_repository(tmp_path, monkeypatch):
    repository = tmp_path / "mono"
    repository.mkdir()
    (repository / "unrelated.txt").write_text("not ours\n")
    root = make_project(repository, repository / "apps" / "sweeps", monkeypatch)
    (root / "harness" / "train.py").write_text("changed\n")
    (root / "conf" / "new.yaml").write_text("new\n")
    (repository / "unrelated.txt").write_text("changed\n")
    patch = uncommitted_diff()
    assert "unrelated" not in patch
    assert files(applied(patch, repository, tmp_path) / "apps" / "sweeps") == files(root)


def test_a_clone_that_borrows_its_objects(project, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    git(tmp_path, "clone", "-q", "--shared", str(project), str(shared))
    monkeypatch.setattr(provenance, "PACKAGE", shared / "harness")
    (shared / "harness" / "train.py").write_text("changed\n")
    (shared / "harness" / "new.py").write_text("new\n")
    assert files(applied(uncommitted_diff(), shared, tmp_path)) == files(shared)


def test_a_linked_worktree(project, tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    git(project, "worktree", "add", "-q", str(tree))
    monkeypatch.setattr(provenance, "PACKAGE", tree / "harness")
    (tree / "harness" / "new.py").write_text("new\n")
    assert "+++ b/harness/new.py" in uncommitted_diff()


def test_a_package_that_is_only_installed_in_a_repository_is_no_checkout_of_it(project, monkeypatch):
    """site-packages of an environment inside somebody's project: its commit says nothing about the harness."""
    installed = project / ".venv" / "site-packages" / "harness"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr(provenance, "PACKAGE", installed)
    assert commit() is None
    assert uncommitted_diff() == ""


def test_no_repository_and_no_commit(tmp_path, monkeypatch):
    (tmp_path / "harness").mkdir()
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "harness")
    assert (commit(), uncommitted_diff()) == (None, "")
    provenance._checkout.cache_clear()
    provenance._uncommitted.cache_clear()
    git(tmp_path, "init", "-q")
    assert (commit(), uncommitted_diff()) == (None, "")


def test_without_git(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert (commit(), uncommitted_diff()) == (None, "")


def test_a_diff_that_fails_is_not_taken_for_a_clean_checkout(project, monkeypatch):
    monkeypatch.setattr(provenance, "DIFF", ("diff", "--no-such-option"))
    assert uncommitted_diff().startswith("# left out: everything")


def test_a_file_that_vanishes_under_the_look_is_named(project, monkeypatch):
    (project / "conf" / "new.yaml").write_text("new\n")
    monkeypatch.setattr(provenance, "_reason_to_leave_out", lambda root, name: (root / name).unlink())
    assert uncommitted_diff() == "# left out: 'conf/new.yaml': git could not add it, or one of the others\n"


def test_secrets_do_not_leave_in_a_diff(project, monkeypatch):
    monkeypatch.setenv("OPENML_API_KEY", "hunter22")
    (project / "conf" / "mine.yaml").write_text("key: hunter22\nuri: postgresql://me:secret@db/runs\n")
    (project / "conf" / "hunter22.bin").write_bytes(b"\0")
    patch = uncommitted_diff()
    assert "+key: ***\n+uri: postgresql://***@db/runs\n" in patch
    assert "hunter22" not in patch
    assert headers(patch)[-1].startswith("# secrets were replaced")


def test_a_running_process_keeps_its_first_look(project):
    """Its code was imported by then; what a file has become since is not what trains."""
    (project / "harness" / "train.py").write_text("imported\n")
    first = uncommitted_diff()
    (project / "harness" / "train.py").write_text("edited while the sweep runs\n")
    assert uncommitted_diff() == first


def test_the_number_of_git_processes_does_not_grow_with_the_files(project, monkeypatch):
    for i in range(500):
        (project / "conf" / f"{i}.yaml").write_text(f"seed: {i}\n")
    calls, run = [], subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *words, **settings: calls.append(words) or run(*words, **settings))
    assert uncommitted_diff().count("+seed") == 500
    assert len(calls) == 5
    uncommitted_diff()
    commit()
    assert len(calls) == 5
