"""What is made from the lessons: `python -m examples html FOLDER`, `ipynb FOLDER`, `browser FOLDER`, `handout FILE`."""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from examples import exports, handout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples", description="Make pages and files of the lessons.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, said in {
        "html": "the five lessons, as pages that need no network: serve the folder",
        "ipynb": "the five lessons, as notebooks of Jupyter",
        "browser": "lesson 4 as one page that brings its own Python",
    }.items():
        verbs.add_parser(verb, help=said).add_argument("folder", type=Path)
    verbs.choices["browser"].add_argument(
        "--offline",
        action="store_true",
        help="with Pyodide and NumPy in the folder, so that no network is needed later",
    )
    verbs.add_parser("handout", help="one page on the three methods, as PDF").add_argument("file", type=Path)
    words = parser.parse_args()
    try:
        for path in _made(words):
            print(path)
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _made(words: argparse.Namespace) -> list[Path]:
    if words.verb == "handout":
        _check_file(words.file)
        return [handout.write(words.file)]
    if words.verb == "browser":
        return [exports.browser(words.folder, words.offline)]
    for library in ("marimo", "nbformat"):
        if find_spec(library) is None:
            raise OSError(f'{words.verb}: expected {library} to be installed (pip install -e ".[lessons]")')
    return exports.lessons(words.verb, words.folder)


def _check_file(path: Path) -> None:
    """Raises OSError for a hand-out that could not be written, before anything is trained."""
    if path.suffix.lower() != ".pdf" or path.is_dir() or not path.parent.is_dir():
        raise OSError(f"handout: expected a file that ends in .pdf, in a folder that exists, got {str(path)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OSError(f"handout: expected a place where this user may write, got {str(path)!r}")


if __name__ == "__main__":
    main()
