"""Words of the command line that name a file or its columns: what a refusal says to type works in a shell."""

import re
import subprocess
import sys

import pytest

from harness.app.composition import compose_cells
from harness.app.filewords import looks_like_a_file
from harness.config import ConfigError

AWKWARD = [
    "a=b.csv",
    "x#y.csv",
    "é.csv",
    "x(1).csv",
    "~/x.csv",
    "my data.csv",
    "a,b.csv",
    "a;b.csv",
    "it's.csv",
    "a$b.csv",
]


def advice(*words: str) -> str:
    """What the refusal of these words says to type, as a shell reads it."""
    with pytest.raises(ConfigError) as refused:
        compose_cells(words)
    message = str(refused.value)
    assert "\n" not in message
    quoted = (
        r"""(?:dataset=file )?(?:"dataset\.load[^"]*"|'dataset\.load(?:[^']|'"'"')*'|dataset\.load\.\w+=[^\s,']+)"""
    )
    found = re.findall(quoted, message)
    assert found, message
    return found[-1].removesuffix(",")


@pytest.mark.sample(2)
@pytest.mark.parametrize("path", [*AWKWARD, "/tmp/x.csv", "x.csv"])
def test_a_path_in_place_of_a_dataset(path):
    typed = advice(f"dataset={path}")
    assert typed.startswith("dataset=file ")
    assert ran(typed) == path


def test_a_plain_path_is_told_without_quotes():
    assert advice("dataset=x.csv") == "dataset=file dataset.load.path=x.csv"
    assert advice("dataset=/data/x.csv") == "dataset=file dataset.load.path=/data/x.csv"


@pytest.mark.sample(2)
@pytest.mark.parametrize("path", ["a=b.csv", "x#y.csv", "é.csv", "x(1).csv", "~/x.csv", "a,b.csv", "a;b.csv"])
def test_a_path_that_needs_quotes(path):
    assert ran(f"dataset=file {advice('dataset=file', f'dataset.load.path={path}')}") == path


def ran(typed: str) -> str:
    """The path that Hydra composes from these words, which a shell has split."""
    composed = "c(sys.argv[1:]).cells[0][0].dataset.load['path']"
    code = f"import sys; from harness.app.composition import compose_cells as c; print({composed})"
    shell = f'exec "{sys.executable}" -c "$CODE" {typed}'
    done = subprocess.run(
        ["sh", "-c", shell], env={"CODE": code, "PYTHONIOENCODING": "utf-8", "HOME": "/"}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("dataset.load.target=a,b", "several as 'dataset.load.target=[a,b]'"),
        ("dataset.load.target=a,b", "one with a comma as \"dataset.load.target='a,b'\""),
        ("dataset.load.drop=[a b,c=d]", "\"dataset.load.drop=['a b','c=d']\""),
        ("dataset.load.target=pH (soil)", "\"dataset.load.target='pH (soil)'\""),
        ("dataset.load.sep=;", "\"dataset.load.sep=';'\""),
        ("dataset.load.drp=a", "did you mean dataset.load.drop?"),
    ],
)
def test_names_of_columns(word, told):
    with pytest.raises(ConfigError) as refused:
        compose_cells(["dataset=file", "dataset.load.path=x.csv", word])
    assert told in str(refused.value)
    assert refused.value.key == word.split("=")[0]


def test_what_looks_like_a_file():
    assert all(map(looks_like_a_file, ["x.csv", "folder/x", "a\\b", "é.txt"]))
    assert not any(map(looks_like_a_file, ["digits", "my_data", "iris2"]))
