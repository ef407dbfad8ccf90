"""What somebody meant who typed a flag, a verb or a key that does not exist, as they would have to type it."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import pairwise

from harness.config import RULES, Config, ConfigError, did_you_mean, nearest

MORE_KEYS = ("experiment", "dataset.name", "dataset.load", "dataset.resample", "study.grids", "hydra/launcher")
KEYS = (*RULES, *(field.name for field in fields(Config)), *MORE_KEYS)
FLAGS = ("--help", "--version", "--multirun", "--cfg", "--json", "--config-dir")
AS_FLAGS = {"help": "--help", "version": "--version", "config": "--cfg job"}  # verbs of other programs
TRAINING = ("train", "run", "sweep", "fit", "start")
NUMBER = r"(\d{1,9}(?:\.\d+)?(?:[eE][+-]?\d\d?)?)"
RANGE = re.compile(rf"{NUMBER}(?:\.\.+|…|:|-|–|to){NUMBER}(?::{NUMBER})?")  # of other languages: first, last, step


def unknown_key(key: str) -> ConfigError:
    """The refusal of a key that is not in the schema, with the nearest one that is."""
    if key.startswith("hydra.launcher."):
        return unknown_option(key)
    return ConfigError(key, f"a known key ({did_you_mean(key, KEYS)}--help lists them)", key)


def unknown_option(key: str, known: Sequence[str] = ()) -> ConfigError:
    """The refusal of what the launcher does not have. known: options that it has."""
    meant = did_you_mean(key, known)
    more = "cores of a job: threads; other options of sbatch: +hydra.launcher.additional_parameters.NAME=VALUE"
    allowed = (
        f"a setting of the launcher that is chosen ({meant}hydra/launcher=joblib has n_jobs; --help has all; {more})"
    )
    return ConfigError(key, allowed, key)


def unknown_flag(words: Sequence[str], message: str) -> ConfigError:
    """The refusal of what Hydra's parser of flags does not take; message: what it says."""
    flag = message.removeprefix("unrecognized arguments: ").split()[0]
    if flag == message.split()[0]:
        return ConfigError("command line", "flags that --hydra-help lists", message)
    name, _, value = flag.lstrip("-").partition("=")
    if key := nearest(name, KEYS):
        following = [word for before, word in pairwise(words) if before == flag]
        meant = _assignment(key, value or next((word for word in following if word[:1].isalnum()), ""))
    else:
        meant = nearest(f"--{name}", FLAGS)
    hint = f"did you mean {meant}? " if meant else ""
    return ConfigError(
        flag.partition("=")[0], f"key=value without dashes, or a flag ({hint}--help and --hydra-help list them)", flag
    )


def unknown_verb(word: str, others: Sequence[str], verbs: Sequence[str]) -> ConfigError:
    """The refusal of a first word that is neither a key with a value nor a verb."""
    name, *rest = re.split(r"[\s:=]+", " ".join([word, *others]))
    if word in AS_FLAGS:
        meant = AS_FLAGS[word]
    elif word in TRAINING:
        several = ["-m"] if word == "sweep" and "-m" not in others else []
        meant = " ".join(["python -m harness", *several, *others])
    elif verb := nearest(word, verbs):
        meant = " ".join([verb, *others])
    elif key := nearest(name, KEYS):
        meant = _assignment(key, next((value for value in rest if value[:1].isalnum()), ""))
    else:
        meant = ""
    hint = f"; did you mean {meant}?" if meant else ""
    return ConfigError("command line", f"key=value, a flag, or a verb ({', '.join(verbs)}){hint}", word)


def meant(key: str, value: str) -> str:
    """What to type for a refused value: several values, a range, or an integer that is not written as one; or ""."""
    if key not in RULES:
        return ""
    allowed = RULES[key].allowed
    if found := RANGE.fullmatch(value):
        ends = [_typed(number) for number in found.groups() if number]
        return _range(key, *map(float, ends)) if all(map(RULES[key].holds, ends)) and ends[0] != ends[1] else ""
    parts = re.findall(r"[^\s,;|&()\[\]{}]+", value)
    if len(parts) > 1 and "list" not in allowed and all(RULES[key].holds(_typed(part)) for part in parts):
        return f" (several values: -m {key}={','.join(parts)})"
    if (key, value) == ("seed", "auto"):
        return " (as many replicas as are needed: -m seeds=auto)"
    whole = _typed(value)
    if isinstance(whole, float) and whole.is_integer() and "integer" in allowed:
        return f" (did you mean {int(whole)}?)"
    return ""


def _range(key: str, first: float, last: float, step: float = 1) -> str:
    """Values from first to last as Hydra reads them: a list evenly spaced by factors, and every integer."""
    if key == "seeds":
        return f" (so many replicas: seeds={last:g})"
    first, last = min(first, last), max(first, last)
    middle = (first * last) ** 0.5
    if "integer" not in RULES[key].allowed:
        return f" (several values: -m {key}={_listed(first, float(f'{middle:.2g}'), last)})"
    every = f"range({first:.0f},{last + 1:.0f}{f',{step:.0f}' if step != 1 else ''})"
    return f" (several values: -m {key}={_listed(first, round(middle), last)}, or each one: -m {key}={every})"


def _listed(*values: float) -> str:
    return ",".join(f"{value:.0f}" if value == int(value) else f"{value:g}" for value in sorted(set(values)))


def _typed(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _assignment(key: str, value: str) -> str:
    """key=value as it has to stand on the line, without blanks."""
    return f"{key}={value or ('true' if key == 'dry_run' else 'VALUE')}"
