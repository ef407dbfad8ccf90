r"""Text and numbers as LaTeX that pdflatex takes whatever a name holds: every sign is ASCII afterwards.

What LaTeX's own fonts have (Greek, accents, signs of mathematics) becomes a command; any other letter its number, as
[U+65E5]. Long words may break, so that no line is overfull.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from harness.config import visible
from harness.report.markdown import number

LONG_WORD, LONG_RUN = 16, 8  # letters: of a word that may break, and of what is kept together in it
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
MATHEMATICS = {
    "\\": r"\backslash", "{": r"\{", "}": r"\}", "$": r"\$", "<": "<", ">": ">", "|": "|", "−": "-", "×": r"\times",
    "·": r"\cdot", "µ": r"\mu", "²": "{}^2", "³": "{}^3", "√": r"\surd", "°": r"{}^\circ", "≤": r"\leq", "≥": r"\geq",
    "≠": r"\neq", "≈": r"\approx", "∞": r"\infty", "∝": r"\propto", "±": r"\pm", "‖": r"\Vert", "→": r"\rightarrow",
    "∂": r"\partial",
}  # fmt: skip
SIGNS = {sign: rf"\ensuremath{{{command}}}" for sign, command in MATHEMATICS.items()} | {
    "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "-": "-{}", "'": "'{}", "`": "`{}", "?": "?{}", "!": "!{}", ",": ",{}",  # no ligatures
    "[": "{[}", "]": "{]}", "*": "{*}",  # which would belong to the end of the row before them
    "½": "1/2", "…": r"\ldots{}", "–": "--", "—": "---", "‘": "`{}", "’": "'{}", "“": "``{}", "”": "''{}",
    "\u00a0": "~", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "œ": r"\oe{}",
    "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c",
}  # fmt: skip
LIKE_LATIN = {  # capital letters of which LaTeX has none, as they look like Latin ones
    "ALPHA": "A", "BETA": "B", "EPSILON": "E", "ZETA": "Z", "ETA": "H", "IOTA": "I", "KAPPA": "K", "MU": "M", "NU": "N",
    "OMICRON": "O", "RHO": "P", "TAU": "T", "CHI": "X",
}  # fmt: skip
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (FINAL )?([A-Z]+)")


def escaped(text: str) -> str:
    """The text for LaTeX: nothing in it is a command, and no letter is unknown to its fonts."""
    return " ".join(map(_word, visible(text).split()))


def _word(word: str) -> str:
    """A long one may break after every sign that is no letter, digit or point, and after so many of these."""
    if len(word) <= LONG_WORD:
        return "".join(map(_sign, word))
    parts, run = [], 0
    for sign in word:
        parts.append(_sign(sign))
        run = run + 1 if sign.isascii() and (sign.isalnum() or sign == ".") else LONG_RUN
        if run >= LONG_RUN:
            parts.append(r"\allowbreak{}")
            run = 0
    return "".join(parts)


def _sign(sign: str) -> str:
    if sign in SIGNS or (sign.isascii() and sign.isprintable()):
        return SIGNS.get(sign, sign)
    base, *marks = list(unicodedata.normalize("NFKD", sign))
    if greek := GREEK.match(unicodedata.name(base, "")):
        return _greek(*greek.groups())
    if marks and base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in ACCENTS:
        return rf"\{ACCENTS[marks[0]]}{{{base}}}"
    plain = unicodedata.normalize("NFKD", sign)
    if plain.isascii():
        return "".join(map(_sign, plain))
    return f"{{[}}U+{ord(sign):04X}{{]}}"


def _greek(case: str, final: str | None, name: str) -> str:
    if case == "CAPITAL" and name in LIKE_LATIN:
        return LIKE_LATIN[name]
    if name == "OMICRON":
        return "o"
    command = {"LAMDA": "lambda"}.get(name, name.lower())
    return rf"\ensuremath{{\{'var' if final else ''}{command.capitalize() if case == 'CAPITAL' else command}}}"


def figure_text(text: str, known: Iterable[int]) -> str:
    """The text for a font that has only the letters with these numbers."""
    have = {*known, ord("\n")}
    return "".join(sign if ord(sign) in have else f"[U+{ord(sign):04X}]" for sign in text)


def tex_number(value: float) -> str:
    """As `number` writes it: three significant digits."""
    text = number(value)
    if found := re.fullmatch(r"(-?[\d.]+)e([+-]\d+)", text):
        return rf"\ensuremath{{{found[1]}\times 10^{{{int(found[2])}}}}}"
    if text.lstrip("-") == "inf":
        return rf"\ensuremath{{{text.replace('inf', chr(92) + 'infty')}}}"
    return rf"\ensuremath{{{text}}}" if text.startswith("-") else text


def macro_name(*parts: object) -> str:
    """A name of letters only: B, 16, 0.5 is BOneSixZeroPointFive. What is no ASCII letter or digit is left out."""
    return "".join(map(_letters, map(str, parts)))


def _letters(part: str) -> str:
    found, start = "", True
    for i, sign in enumerate(part):
        if sign.isascii() and sign.isalpha():
            found += sign.upper() if start else sign
        elif sign.isascii() and sign.isdigit():
            found += DIGITS[int(sign)]
        elif part[i + 1 : i + 2].isdigit():
            found += {".": "Point", "-": "Minus"}.get(sign, "")
        start = not (sign.isascii() and sign.isalpha())
    return found


def short_name(text: str, most: int = 24) -> str:
    """A `macro_name` of at most so many letters; six more of a digest where it does not tell the whole text."""
    name = macro_name(text)
    plain = re.fullmatch(r"[A-Za-z0-9 ._-]+", text)
    if plain and 0 < len(name) <= most:
        return name
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:6]
    return name[:most] + "".join(chr(ord("a") + int(digit, 16)) for digit in digest)


def cut(text: str, most: int) -> str:
    """The text; of a longer one both ends, of so many letters together."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-(most // 2) :]}"
