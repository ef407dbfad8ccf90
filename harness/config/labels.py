"""What cells and sweeps are called. Names are for people; no program reads one."""

import json
import re
from collections.abc import Sequence
from typing import Any

Values = dict[str, Any]  # of a cell: its flat configuration, with the effective batch size and learning rate
KNOBS = ("batch_size", "learning_rate", "reduction")
ALWAYS = {"dataset.name": "", "batch_size": "B=", "learning_rate": "η=", "reduction": ""}  # named in every label
SOURCE = ("code", "data")  # digests among the values, named only where nothing else tells two cells apart
PLAIN = re.compile(r"[\w./-]+")  # a text that is read without quotes
LONGEST = 250  # characters of a sweep's name
# What moves a terminal's cursor or turns the reading direction, ends a line, or cannot be encoded.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str, kept: str = "") -> str:
    r"""A name as people may see it, with \x1b in place of an escape and \n of a new line. kept: signs that stay."""
    return UNSEEN.sub(lambda one: one[0] if one[0] in kept else one[0].encode("unicode_escape").decode(), text)


def labels(cells: Sequence[Values]) -> list[str]:
    """A name for each of these different cells, or settings without knobs: `digits B=64 η=0.1 mean optimizer=adam`.

    No two are alike: numbers are rounded unless that makes two of them one. A value that a cell lacks is not named.
    """
    varied = [key for key in varied_keys(cells) if key not in ALWAYS]
    for keys in ([key for key in varied if key not in SOURCE], varied):
        named = {key: word for key, word in ALWAYS.items() if key in cells[0]}
        named |= {key: f"{name}=" for key, name in _key_names(keys).items()}
        words = [[name + text if text != "null" else "" for text in texts(cells, key)] for key, name in named.items()]
        found = [" ".join(filter(None, row)) for row in zip(*words, strict=True)]
        if len(set(found)) == len(found):
            return found
    return [visible(exact_text(one)) for one in cells]


def sweep_label(cells: Sequence[Values], study: str = "") -> str:
    """`digits batch_size=1,64,512`; of a study, whose grids are many, its name and its data.

    cells: with learning rates as they were asked for, so that the keys have the values that were typed.
    """
    datasets = visible(", ".join(dict.fromkeys(one["dataset.name"] for one in cells)))
    if study:
        return f"{study}: {datasets}"[:LONGEST]
    varied = [key for key in varied_keys(cells) if key != "dataset.name"]
    words = [datasets]
    for key, name in _key_names(sorted(varied, key=lambda key: key not in KNOBS)).items():
        shown = list(dict.fromkeys(texts(cells, key)))
        words.append(f"{name}=" + ",".join(shown if len(shown) <= 8 else [*shown[:7], f"({len(shown)} values)"]))
    return " ".join(words)[:LONGEST]


def varied_keys(cells: Sequence[Values]) -> list[str]:
    """The keys in which the cells of a sweep differ, without those that the name of their group decides."""
    keys = dict.fromkeys(key for one in cells for key in one)
    return [key for key in keys if len(set(_exact_texts(cells, key))) > 1 and not _implied(key, cells)]


def exact_text(value: Any) -> str:
    """A text that two values share only if they are equal; half characters, as in paths that are no UTF-8, by code."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace").decode()


def _exact_texts(cells: Sequence[Values], key: str) -> list[str]:
    return [exact_text(one.get(key)) for one in cells]


def _implied(key: str, cells: Sequence[Values]) -> bool:
    """Whether the name of the key's group decides its value, as adam decides that there is a beta2."""
    name = f"{key.split('.')[0]}.name"
    if key == name or name not in cells[0]:
        return False
    names = [one[name] for one in cells]
    return len(set(zip(names, _exact_texts(cells, key), strict=True))) == len(set(names))


def _key_names(keys: Sequence[str]) -> dict[str, str]:
    """optimizer.name -> optimizer, model.hidden -> hidden; the whole key where two would be called alike."""
    short = {key: key.removesuffix(".name").split(".")[-1] for key in keys}
    return {key: name if list(short.values()).count(name) == 1 else key for key, name in short.items()}


def texts(cells: Sequence[Values], key: str) -> list[str]:
    """How the value of a key is written in each cell: short, or exact where short would make two values one."""
    short, exact = [_short(one.get(key)) for one in cells], _exact_texts(cells, key)
    return [visible(text) for text in (short if len(set(short)) == len(set(exact)) else exact)]


def _short(value: Any) -> str:
    """0.1, [64,32], adam, "price mean"."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else exact_text(value)
