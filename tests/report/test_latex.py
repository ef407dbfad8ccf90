"""Any text as LaTeX: ASCII, without a sign that means something; names of macros; tables."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.booktabs import LINES, tables, with_headings
from harness.report.latex import escaped, figure_text, macro_name, short_name, tex_number

COMMANDS = re.compile(r"\\([A-Za-z]+|.)")
WORDS = """
ensuremath allowbreak textasciitilde textasciicircum ldots backslash times cdot surd circ leq geq neq approx infty
propto pm Vert rightarrow partial ss ae AE o O oe OE l L i u r H v d c varsigma alpha beta gamma delta epsilon zeta eta
theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon
Phi Psi Omega"""
KNOWN = {*WORDS.split(), *"&#%_{}$`'^~=.\""}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b", r"a\_b"),
        ("50 %", r"50 \%"),
        ("B=64 (η=0.1, sum)", r"B=64 (\ensuremath{\eta}=0.1,{} sum)"),
        ("café", r"caf\'{e}"),
        ("naïve Ångström", r"na\"{i}ve \r{A}ngstr\"{o}m"),
        ("日本", "{[}U+65E5{]}{[}U+672C{]}"),
        ("Ω ς λ Α", r"\ensuremath{\Omega} \ensuremath{\varsigma} \ensuremath{\lambda} A"),
        ("ﬁn", "fin"),
        ("--json", "-{}-{}json"),
        ("a\\b{c}$", r"a\ensuremath{\backslash}b\ensuremath{\{}c\ensuremath{\}}\ensuremath{\$}"),
        ("x\x1b[2J", r"x\ensuremath{\backslash}x1b{[}2J"),
        ("two\nlines", r"two\ensuremath{\backslash}nlines"),
    ],
)
def test_a_sign_that_means_something_is_shown(text, shown):
    assert escaped(text) == shown


@given(st.text(max_size=40))
def test_any_text_is_ascii_and_has_known_commands_in_whole_groups(text):
    found = escaped(text)
    assert found.isascii()
    assert "\n" not in found
    assert set(COMMANDS.findall(found)) <= KNOWN
    bare = re.sub(r"\\[{}$&#%_]", "", found)
    assert not set("$&#%") & set(bare)
    assert bare.count("{") == bare.count("}")


def test_a_long_word_may_break_and_a_number_may_not():
    assert r"\allowbreak{}" in escaped("a" * 40)
    assert r"\allowbreak{}" not in escaped("a" * 16)
    assert "0.25" in escaped("learning_rate=0.25,0.5,1,2,4,8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1, "0.1"), (0.0698123, "0.0698"), (1437, "1437"), (2.5e-5, r"\ensuremath{2.5\times 10^{-5}}"),
        (float("inf"), r"\ensuremath{\infty}"), (-0.5, r"\ensuremath{-0.5}"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits(value, shown):
    assert tex_number(value) == shown


def test_a_macro_has_letters_only_and_keeps_numbers_apart():
    assert macro_name("iris", "B", "16", "rate", "0.3", "sum") == "IrisBOneSixRateZeroPointThreeSum"
    names = [macro_name("rate", repr(rate)) for rate in (0.1, 0.11, 1.1, 11.0, 1e-05, 1e5, 15.0)]
    assert len(set(names)) == len(names)


@given(st.text(min_size=1, max_size=40))
def test_any_text_has_a_short_name_of_letters(text):
    assert re.fullmatch("[A-Za-z]{1,40}", short_name(text))


def test_texts_that_lose_letters_or_length_get_a_digest():
    assert short_name("digits") == "Digits"
    assert short_name("日本") != short_name("中国")
    assert short_name("x" * 60) != short_name("x" * 61)
    assert short_name("日本").isalpha()


def test_a_long_table_goes_on_on_the_next_page_and_an_empty_one_is_none():
    text = tables("x", "caption", ("l",), ("a",), [[str(i)] for i in range(LINES)])
    assert text.count(r"\begin{table*}") == 2
    assert text.count("(continued)") == text.count(r"\label") == 1
    assert tables("x", "caption", ("1in",), ("a",), [["x" * 120]] * 10).count(r"\begin{table*}") == 3
    assert tables("x", "caption", ("l",), ("a",), []) == ""


def test_groups_have_headings_where_there_are_several():
    assert with_headings([("a", ["1"]), ("a", ["2"])]) == [["1"], ["2"]]
    assert with_headings([("a_", ["1"]), ("b", ["2"])]) == [r"a\_", ["1"], "b", ["2"]]


def test_letters_that_a_font_lacks_are_told_by_their_number():
    assert figure_text("aη日\n", map(ord, "aη")) == "aη[U+65E5]\n"
