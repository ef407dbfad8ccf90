"""What is made from the lessons: `python -m examples html FOLDER`, `ipynb FOLDER`, `browser FOLDER`, `handout FILE`."""

import argparse
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
    if words.verb == "handout":
        print(handout.write(words.file))
    elif words.verb == "browser":
        print(exports.browser(words.folder, words.offline))
    else:
        for path in exports.lessons(words.verb, words.folder):
            print(path)


if __name__ == "__main__":
    main()
