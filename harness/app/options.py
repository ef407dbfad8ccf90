"""Options of verbs: a few words with a dash in front, some with a value, among run ids."""

import os
from collections.abc import Sequence
from pathlib import Path

from harness.config import ConfigError, did_you_mean

TABLES = ("cells", "replicas", "histories", "answers", "runs")  # of `query`
TABLE, PAPER, FILE = "--table", "--paper", "-o"
OF_VERBS = {  # what a shell completes after a verb
    "query": (TABLE, "--csv", "--json", FILE),
    "report": (PAPER, "--json"),
    "pack": (FILE,),
}


def split_options(
    verb: str, words: Sequence[str], valued: Sequence[str] = (), switches: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Words without a dash, and the value of each option; of a switch its own name. `--a b` and `--a=b` are the same.

    valued: options with a value. Raises ConfigError for an option that is unknown, repeated or without its value.
    """
    rest, found, following = list[str](), dict[str, str](), iter(words)
    for word in following:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            rest.append(word)
            continue
        if name not in (*valued, *switches) or (name in switches and equals):
            known = ", ".join([*(f"{option} VALUE" for option in valued), *switches])
            hint = did_you_mean(name, [*valued, *switches, "--help"]).strip()
            raise ConfigError(verb, f"run ids and {known}" + (f" ({hint})" if hint else ""), word)
        if name in found:
            raise ConfigError(f"{verb} {name}", "to be there once", word)
        found[name] = name if name in switches else value if equals else next(following, "")
        if not found[name]:
            raise ConfigError(f"{verb} {name}", "a value after it", None)
    return rest, found


def check_new(key: str, path: Path) -> None:
    """Raises ConfigError for a place where no new file can be made."""
    try:
        path.lstat()
    except FileNotFoundError as error:
        if not os.path.isdir(path.absolute().parent):
            raise ConfigError(key, "a file in a folder that exists", str(path)) from error
    except (OSError, ValueError) as error:  # a name that is too long, or has a null byte
        raise ConfigError(key, "a file in a folder that exists", f"{path}: {error}") from error
    else:
        raise ConfigError(key, "a file that does not exist yet", str(path))
