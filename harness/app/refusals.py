"""What Hydra and OmegaConf refuse, told in one line: the key, what is allowed, what came, a way out."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.app import filewords
from harness.app.hints import meant, unknown_key
from harness.app.nodes import A_VALUE, KEPT
from harness.config import RULES, ConfigError, did_you_mean, study_names


def refusing(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call Hydra or OmegaConf; what they refuse is raised as a ConfigError."""
    try:
        return call(*arguments, **options)
    except (ConfigError, MemoryError):
        raise
    except Exception as refused:  # Hydra raises nearly any exception for a node of an odd form
        raise _one_line(" ".join(f"{refused} {refused.__cause__ or ''}".split())) from refused


def unreadable(word: str, error: Exception) -> ConfigError:
    """The refusal of a word that Hydra's grammar does not have; `error`: what the parser says."""
    key, equals, value = (part.strip() for part in word.partition("="))
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    if not equals or not key:
        return ConfigError("command line", "key=value (a verb stands first, flags begin with -)", word)
    if about_a_file := filewords.unquoted(word):
        return about_a_file
    if isinstance(error, UserWarning):
        return ConfigError(key, f"a value ({text})", value)
    if found := re.search(r"Unknown function '(\w+)' Available: (\S+)", text):
        return ConfigError(key, f"a value, or a function of Hydra's ({found[2].replace(',', ', ')})", value)
    if found := re.search(r"while evaluating '(\w+)\(.*?\)': (.*?)(?: See |$)", text):
        return ConfigError(key, f"arguments that {found[1]}() takes ({found[2]})", value)
    if value.startswith("="):
        return ConfigError(key, f"one equals sign: {key}={value.strip('= ')}", value)
    readable = NO_BLANK if value.endswith(",") else QUOTED
    return ConfigError(key.lstrip("+~"), f"a value{hint}" if (hint := meant(key, value)) else readable, value)


def unknown(key: str) -> ConfigError:
    """The refusal of a key that is not in the schema."""
    if key.startswith("dataset.load."):
        return filewords.unknown_argument(key)
    if key.startswith("study."):
        return ConfigError(key, 'study.grids=[{KEY: "VALUES"}, ...] after -m (++study.grids with --cfg)', key)
    return unknown_key(key)


def _one_line(text: str) -> ConfigError:
    """A message of Hydra or OmegaConf, read for the key, what is allowed and what came."""
    for pattern, rewrite in MESSAGES.items():
        if found := re.search(pattern, text):
            return rewrite(found)
    return ConfigError("command line", "key=value as Hydra reads it", text)


def _wrong_type(found: re.Match[str]) -> ConfigError:
    key = found["key"].split("[")[0]
    plain = A_VALUE if key.startswith("hydra.") else "a value of another type"
    other = plain if key != "study" else "values of a study (experiment=NAME chooses one)"
    allowed = RULES[key].allowed + meant(key, found["value"]) if key in RULES else other
    return ConfigError(key, allowed, found["value"])


def _unknown_option(found: re.Match[str]) -> ConfigError:
    if found["group"] == "dataset" and filewords.looks_like_a_file(found["option"]):
        return filewords.no_dataset(found["option"])
    options = [option for option in found["options"].split() if not option.startswith("_")]
    hint = did_you_mean(found["option"], options).strip()
    allowed = " | ".join(options) + (f" ({hint})" if hint else "")
    allowed += _no_file(found["option"]) if found["group"] == "experiment" else ""
    return ConfigError(found["group"], allowed, found["option"])


def _no_file(option: str) -> str:
    """What a name that ends like a file's did not find."""
    missing = option.endswith(".yaml") and Path(option).stem not in study_names()
    return f" (there is no file experiments/{Path(option).name})" if missing else ""


def several(key: str, value: str) -> ConfigError:
    """The refusal of several values for one cell."""
    if about_a_file := filewords.listed(key, value):
        return about_a_file
    kind = RULES[key].allowed if key in RULES else ""
    if "list" in kind:
        return ConfigError(key, f"{kind} (in brackets: {key}=[{value}])", value)
    may_be_decimal = "number" in kind and re.fullmatch(r"-?\d+,\d+", value)
    point = f", a decimal a point: {value.replace(',', '.')}" if may_be_decimal else ""
    return ConfigError(key, ONE_STUDY if key == "experiment" else A_LIST.format(point=point), value)


def _twice(found: re.Match[str]) -> ConfigError:
    group, option = found.groups()
    in_a_file = "" if group in RULES else f"; in a file: `override /{group}: {option}`"
    allowed = f"{group}={option} without +, which is for what is not there yet{in_a_file}"
    return ConfigError(group, allowed, f"+{group}={option}")


def _relative(found: re.Match[str]) -> ConfigError:
    group = found["group"]
    return ConfigError("defaults", f"`override /{group}: NAME`, with the slash", f"override {group}")


def _not_found(found: re.Match[str]) -> ConfigError:
    return ConfigError(f"defaults of {found['file']}", BESIDE, found["name"])


QUOTED = """a value that Hydra can read (one with blanks, commas or other signs in two pairs of quotes: '"a, b"')"""
NO_BLANK = "a list without blanks, and with a value at its end: 1,64"
INTERPOLATED = "a value, or ${KEY} of another key that has one"
A_LIST = "one value (a list to sweep over needs -m in front{point})"
A_NAME = "a name for each group (dataset, model, optimizer); ~experiment leaves a study out"
BESIDE = "names of files beside it, or `override /GROUP: NAME`"
GLOBAL = "`# @package _global_` in its first line, or a place in the folder experiments/"
ONE_STUDY = "one study (`studies NAME NAME` runs a sweep for each; -m takes several files that set values only)"
ONE = "one value for all cells"
OF_A_JOB = "a value, or ${KEY} of another key (what ${hydra:...} gives depends on the cells that are still missing)"
MESSAGES: dict[str, Callable[[re.Match[str]], ConfigError]] = {
    r"Could not find '(?P<group>hydra/\w+|\w+)/(?P<option>[^']*)' Avail.*?: (?P<options>.*?) Config s": _unknown_option,
    r"Ambiguous value for argument '([^=]+)=([^']*)'": lambda f: several(*f.groups()),
    r"Sweeping over Hydra's configuration is not supported : '([^=]+)=(.*)'": lambda f: ConfigError(f[1], ONE, f[2]),
    r"Sweep parameters '([^=]+)=(.*)' requires --multirun": lambda f: several(*f.groups()),
    r"Multiple values for (\S+)\. To override a value use '(?:override )?[^:]+: (.*?)'": _twice,
    r"Could not append to config\. An item is already at '(\S+)'\. .*?'\S+?=(.*?)'": _twice,
    r"force-add of config groups is not supported: '\+\+(\S+)=(.*?)'": _twice,
    r"Could not override 'experiment/(?P<group>[\w/]+)@\w+'": _relative,
    r"Invalid Defaults List override '(?P<group>[\w/]+): .*No earlier Group Default for 'experiment/": _relative,
    r"'hydra\.\w+' must be configured before the sweep": lambda _: ConfigError("experiment", ONE_STUDY, "several"),
    r"In '(?P<file>[^']+)': Could not (?:find|load) '(?P<name>[^']+)'": _not_found,
    r"In '(experiment/[^']+)': .* Key 'experiment' not in 'Config'": lambda f: ConfigError(f[1], GLOBAL, "none"),
    r"Error merging override .*?=(?P<value>.*?) (Value|Invalid|Cannot|field) .*full_key: (?P<key>\S+)": _wrong_type,
    r"does not support deletion full_key: (\S+)": lambda found: ConfigError(
        found[1], KEPT.format(found[1]), f"~{found[1]}"
    ),
    r"Could not (?:override|delete from config\.) '([^']+)'": lambda found: unknown(found[1]),
    r"Config group override must be a string or a list. Got (\w+)": lambda f: ConfigError("command line", A_NAME, f[1]),
    r"(?:HydraConfig was not set|interpolation '\$\{hydra:.*) full_key: (\S+)": lambda found: ConfigError(
        found[1], OF_A_JOB, "${hydra:...}"
    ),
    r"Interpolation key '(.+?)' not found full_key: (\S+)": lambda f: ConfigError(f[2], INTERPOLATED, f"${{{f[1]}}}"),
    r"(Recursive interpolation).* full_key: (\S+)": lambda f: ConfigError(f[2], INTERPOLATED, f[1].lower()),
    r"Environment variable '(.*?)' not found.* full_key: (\S+)": lambda found: ConfigError(
        found[2], "${oc.env:NAME} of a variable that is set, or ${oc.env:NAME,DEFAULT}", found[1]
    ),
    r"Unsupported interpolation type (\S+) full_key: (\S+)": lambda f: ConfigError(f[2], INTERPOLATED, f[1]),
    r"provider=hydra.searchpath in .*?, path=(\S+) is not available": lambda found: ConfigError(
        "hydra.searchpath", "folders that exist (or --config-dir FOLDER)", found[1]
    ),
    r"(?:[Mm]issing mandatory value: \w+ full_key: |missing \d+ required positional arguments?: ')([\w.]+)": (
        lambda found: ConfigError(found[1], f"a value: {found[1]}=...", None)
    ),
}
