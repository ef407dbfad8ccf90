"""Answers in plain words: which settings say yes, and which no."""

from collections.abc import Iterable, Mapping

from harness.inference import Verdict

WORDS = {
    Verdict.SUPPORTED: "yes",
    Verdict.REFUTED: "no",
    Verdict.CONDITIONAL: "in part",
    Verdict.UNRESOLVED: "not decided",
}


def joined(names: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def where(parts: Mapping[str, Verdict], before: str = "on ") -> str:
    """`on digits and wine yes, on iris no`: names of settings -> verdict, with what goes before the names.

    Settings of one verdict stand together, in their order; what is not known comes last.
    """
    groups = {word: [name for name, verdict in parts.items() if verdict is of] for of, word in WORDS.items()}
    return ", ".join(f"{before}{joined(names)} {word}" for word, names in groups.items() if names)
