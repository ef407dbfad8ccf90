"""Every example in a docstring of the package is run."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "harness"
FILES = [path for path in PACKAGE.rglob("*.py") if "\n    >>> " in path.read_text() or "\n>>> " in path.read_text()]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in FILES
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name):
    tried = doctest.testmod(import_module(name))
    assert tried.attempted > 0
    assert tried.failed == 0
