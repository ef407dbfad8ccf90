"""Writes docs/keys.md from the files of conf/ and the schema: `python docs/write_keys.py`."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import yaml

from harness.config.names import Known
from harness.config.schema import PARTS, RULES, Config

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "keys.md"
WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", list: "list", dict: "keys and values"}
INTRODUCTION = """# Commands and keys

<!-- Written by `python docs/write_keys.py` from conf/ and harness/config/schema.py: change those. -->

## Commands

| command | what it does |
|---|---|
COMMANDS

With `--json` (a sweep, a single cell, `report`) standard output gets one JSON object at the end and nothing else:
`exit_code` and what it means, the `sentences` of the answer, the comparisons on each clock (`standing`, `winner`,
`ratio` with limits, `p`), the `cells`, and the places `report` and `browse`.

## How a key is set

A key is set on the command line, `KEY=VALUE`. With `-m`, commas make a sweep: `KEY=VALUE,VALUE`. A value that is not
allowed is refused before anything is trained or written. `null` is YAML's word for no value. `python -m harness --help`
prints the same texts as this page. From Python, `harness.train` and `harness.sweep` have the keys as
[keywords](python.md).

Some sweeps are no full grid:

```console
$ python -m harness -m batch_size=1,8 'learning_rate=${batch_size}'
$ python -m harness -m 'study.grids=[{batch_size: 8, learning_rate: "0.1,0.3"}, {batch_size: 64, learning_rate: "0.8"}]'
```

The first command takes the value that another key has in the same cell: it trains (1, 1) and (8, 8). The second has
several grids, one after the other; other words on the line hold for all of them.
"""
GROUPS = {
    "model": ("every_model", "A network is chosen with `model=NAME`: NAMES. Its keys:"),
    "optimizer": (
        "every_optimizer",
        "An update rule is chosen with `optimizer=NAME`: NAMES, or [one of your own](extending.md). Its keys:",
    ),
    "dataset": (
        "every_dataset",
        "Data are chosen with `dataset=NAME`: one of [these](#datasets), or [one of your own](extending.md). Keys:",
    ),
}
LAUNCHERS = """## Who trains the cells

`hydra/launcher=NAME` chooses a launcher for a sweep; without it, the command trains the cells itself, one after the
other. [Many cells, many machines](scale.md) says when each is of use.
"""


class Line(NamedTuple):
    """A key of a YAML file: its name in the file, its value as text (empty: the keys below it), its comment."""

    key: str
    value: str
    comment: str


def lines_of(text: str) -> Iterator[Line]:
    """The keys of a YAML text with the comments beside them, which may go on in the lines below."""
    found: list[Line] = []
    above: list[str] = []
    for line in text.splitlines():
        if entry := re.match(r"( *)([a-z_]\w*):(?: +([^#\s][^#]*?))?\s*(?:#\s*(.*))?$", line):
            indent, key, value, comment = entry.groups()
            above = [*above[: len(indent) // 2], key]
            found.append(Line(".".join(above), value or "", comment or ""))
        elif found and (more := re.match(r" {9,}#\s*(.*)", line)):  # less far to the right, it is about the next keys
            found[-1] = found[-1]._replace(comment=f"{found[-1].comment} {more[1]}")
    yield from found


def head(text: str) -> str:
    """The comment in the first lines of a text."""
    lines = re.match(r"(?:#.*\n)*", text)
    return " ".join(line.lstrip("# ") for line in lines[0].splitlines()) if lines else ""


def kind(key: str) -> str:
    """The type of a key in words."""
    part, _, name = key.rpartition(".")
    hint = get_type_hints(PARTS[part] if part else Config)[name]
    options = [option for option in get_args(hint) if option is not type(None)] if not _is_list(hint) else []
    return " or ".join(WORDS[getattr(option, "__origin__", option)] for option in options or [hint])


def _is_list(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) in (list, dict)


def section(key: str, meaning: str, default: str) -> str:
    """The part of the page about one key."""
    about = [f"Type: {kind(key)}.", f"Default: {default}."]
    if key in RULES:
        own = isinstance(RULES[key], Known)
        about.append(f"Allowed: {escaped(RULES[key].allowed)}{', or [one of your own](extending.md)' * own}.")
    return f"### `{key}`\n\n{escaped(meaning)}\n\n{' '.join(about)}\n"


def sentence(text: str) -> str:
    text = escaped(" ".join(text.split()))
    return text[:1].upper() + text[1:].rstrip(".") + "."


def escaped(text: str) -> str:
    """Text outside of code as Markdown shows it unchanged."""
    parts = text.split("`")
    return "`".join(re.sub(r"([*<\[|])", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))


def cell_keys() -> Iterator[str]:
    """The keys of conf/config.yaml, below the comments that stand above them there."""
    text = (CONF / "config.yaml").read_text(encoding="utf8")
    text = text[text.index("# The three knobs") : text.index("\nhydra:")]
    for block in text.strip().split("\n\n"):
        title, _, more = head(f"{block}\n").partition(": ")
        yield f"## {title.rstrip('.')}\n"
        if more:
            yield f"{sentence(more)}\n"
        yield from (section(line.key, line.comment, f"`{line.value}`") for line in lines_of(block))


def options(group: str) -> dict[str, str]:
    """The texts of the files of a group, by their names."""
    return {path.stem: path.read_text(encoding="utf8") for path in sorted((CONF / group).glob("*.yaml"))}


def group_keys(group: str) -> Iterator[str]:
    """The keys that are the same for all options of a group, with the defaults of each option."""
    base, words = GROUPS[group]
    names = [f"{group}.{field.name}" for field in fields(PARTS[group]) if field.name not in ("name", "load")]
    shared = CONF / f"{base}.yaml"
    texts = {"": shared.read_text(encoding="utf8") if shared.exists() else "", **options(group)}
    found = {name: {f"{group}.{line.key}": line for line in lines_of(text)} for name, text in texts.items()}
    yield f"## {group.capitalize()}\n\n{words.replace('NAMES', ', '.join(options(group)))}\n"
    for key in names:
        lines = {name: own[key] for name, own in found.items() if key in own}
        meaning = next((line.comment for line in lines.values() if line.comment), "")
        yield section(key, meaning, default_of({name: line.value for name, line in lines.items()}))


def default_of(values: dict[str, str]) -> str:
    """`0.1`; or `0.9` (momentum, nesterov), for options that have values of their own. The option "" is all others."""
    by_value: dict[str, list[str]] = {}
    for name, value in values.items():
        by_value.setdefault(value, []).append(name)
    if list(by_value.values()) == [[""]]:
        return f"`{values['']}`"
    said = [f"`{value}` ({', '.join(filter(None, names)) or 'all others'})" for value, names in by_value.items()]
    return ", ".join(said)


def datasets() -> Iterator[str]:
    """What each dataset is, and the keys of the function that loads it."""
    yield "## Datasets\n\nThe keys of a dataset's own begin with `dataset.load.`.\n"
    for name, text in options("dataset").items():
        load = yaml.safe_load(text)["load"]
        comments = {line.key: line.comment for line in lines_of(text)}
        rows = [
            option(f"dataset.load.{key}", yaml.safe_dump(value).splitlines()[0], comments.get(f"load.{key}"))
            for key, value in load.items()
            if key not in ("_target_", "return_X_y")
        ]
        about = f"{sentence(head(text))} Loaded by `{load['_target_']}`."
        yield "\n".join([f"### `dataset={name}`", "", about, "", *([*rows, ""] if rows else [])])


def launchers() -> Iterator[str]:
    """The options of the launchers."""
    yield LAUNCHERS
    for name, text in options("hydra/launchers").items():
        about = head(text).partition(": ")[2]
        rows = [
            option(f"hydra.launcher.{line.key}", line.value, line.comment) + "\n"
            for line in lines_of(text)
            if line.key != "name" and line.value
        ]
        yield f"### `hydra/launcher={name}`\n\n{sentence(about)}\n\n" + "".join(rows)


def option(key: str, default: str, comment: str | None) -> str:
    """A line about a key that only one dataset, or one launcher, has."""
    given = "must be given" if default == "???" else f"default `{default}`"
    return f"- `{key}` ({given})" + (f": {escaped(comment)}" if comment else "")


def commands() -> str:
    """A row for each command that `--help` names."""
    header = yaml.safe_load((CONF / "hydra" / "help" / "harness.yaml").read_text(encoding="utf8"))["header"]
    rows: list[list[str]] = []
    for line in header.split("\n\n")[1].splitlines():
        command, meaning = re.match(r"(.*?)(?: {2,}|$)(.*)", line.strip()).groups()
        if meaning:
            rows.append([command.replace("|", "\\|"), meaning])
        else:
            rows[-1][1] += f" {command}"  # the meaning goes on
    return "\n".join(f"| `{command}` | {meaning} |" for command, meaning in rows)


def page() -> str:
    parts = [
        INTRODUCTION.replace("COMMANDS", commands()),
        *cell_keys(),
        *(part for group in GROUPS for part in group_keys(group)),
    ]
    return "\n".join([*parts, *datasets(), *launchers()]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf8")
