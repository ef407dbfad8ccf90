"""A name from anywhere in words, pictures, pages, files and a terminal: it is shown, and does nothing."""

import os
import re
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from synthetic import cell, evidence

from harness.analysis import Claim, Finding, Study
from harness.api.results import Figures
from harness.app.command import say
from harness.config import labels, sweep_label, visible
from harness.inference import Verdict
from harness.report import code, figures, file_names, findings, harmless, note, page, png, study_pages
from harness.report.curves import cell_figures
from harness.report.markdown import rendered
from harness.report.style import key
from harness.store.redaction import print_traceback
from harness.store.writer import MAX_NAME, _clean

PLANTED = {
    "image": "![](http://evil.example/x.png)",
    "image, escaped already": r"![x\](http://evil.example/x.png)",
    "image by reference": "![a][b]\n\n[b]: http://evil.example/x.png",
    "link to a script": "[x](javascript:alert(1))",
    "link around an image": "[![a](http://evil.example/a)](http://evil.example)",
    "autolink": "<http://evil.example>",
    "HTML": '<img src=http://evil.example/x onerror="alert(1)">',
    "HTML, closing": '</title></code><script src="http://evil.example/x.js"></script>',
    "HTML as entities": "&lt;img src=http://evil.example&gt;&#60;script&#62;",
    "attribute": "\" onload=alert(1) x='",
    "table": "a | b \\| c |\n|---|\n| d",
    "code": "`code ``more`",
    "lines": "one\n\n# two\r\n- three\u2028four",
    "mathtext": "price in $\\frac{1}{$ each",
    "LaTeX": r"\input{/etc/passwd} \write18{id} %s {0} {name}",
    "paths": "../../../../etc/passwd",
    "dots": "..",
    "slashes": "/a\\b:c*?",
    "letters": "n" * 600,
    "signs of a terminal": "\x1b[2J\x1b]0;title\x07\x1b[31m\x9b1m\x7f\b",
    "zero": "a\0b",
    "reading direction": "abc\u202egpj.exe\u2066",
    "surrogate": "caf\udce9",
    "formula": "=cmd|' /C calc'!A0",
    "underscore": "_private",
    "rich's markup": "[red]x[/red][link=http://evil.example]y[/link]",
}
SIGNS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\u2066\ud800-\udfff]")
EVERY = pytest.mark.parametrize("name", PLANTED.values(), ids=PLANTED)


class Page(HTMLParser):
    """Which elements a page has, and what their attributes would load, open or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.metas: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.metas += [dict(attrs)] if tag == "meta" else []
        self.addresses += [str(value) for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        self.handlers += [key for key, _ in attrs if key.startswith("on")]


def loads_nothing(page: str) -> None:
    """No element can fetch, and every address is a picture in the page itself."""
    read = Page(page)
    assert read.tags & {"script", "iframe", "link", "object", "embed", "base", "form", "svg", "a", "audio"} == set()
    assert [address[:60] for address in read.addresses if not address.startswith("data:image/png;base64,")] == []
    assert read.handlers == []


def as_a_browser_of_runs(markdown: str) -> str:
    """As a renderer that knows no caution shows the note of a run: with HTML and links."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)


@lru_cache
def sweep(name: str):
    """Two settings, which differ in a path; the name is also that of the data."""
    grid = ((name, 8, 0.1), (name, 16, 0.1), (name, 16, 0.3), ("x.csv", 8, 0.1))
    cells = [cell(B, rate, dataset=name, **{"dataset.load.path": path}, n_train=64) for path, B, rate in grid]
    return evidence(*cells, n_replicas=3)


# Words and pages.


@pytest.mark.sample(2)
@EVERY
def test_a_name_in_a_note_is_no_markup_and_the_page_loads_nothing(name):
    found = sweep(name)
    words = note(found.data, found.answer)
    assert SIGNS.search(words) is None
    loads_nothing(as_a_browser_of_runs(words))
    text = page(found.data, found.answer, words, {name: png(Figure(figsize=(0.1, 0.1)))}, lambda run_id: f"#/{run_id}")
    text.encode()
    scripts = re.findall(r"<script>.*?</script>", text, re.DOTALL)
    assert len(scripts) == 3  # the library's, the charts', the page's
    shown = text
    for script in scripts:
        shown = shown.replace(script, "")
    read = Page(shown)
    assert read.tags & {"iframe", "link", "object", "embed", "base", "audio"} == set()
    assert read.handlers == []
    assert [one for one in read.addresses if not one.startswith(("#", "data:image/webp;base64,"))] == []
    assert shown.count("<script") == 1  # the numbers
    assert SIGNS.search(shown) is None
    (lock,) = [str(meta["content"]) for meta in read.metas if "http-equiv" in meta]
    assert "default-src 'none'" in lock
    assert "script-src 'sha256-" in lock


def test_the_oracle_sees_what_would_be_loaded():
    for kind in ("image", "image by reference", "HTML", "HTML, closing", "autolink"):
        with pytest.raises(AssertionError):
            loads_nothing(as_a_browser_of_runs(f"**{PLANTED[kind]}**\n"))


def test_without_a_name_of_that_kind_a_note_is_as_it_is():
    found = sweep("digits")
    words = note(found.data, found.answer)
    assert harmless(words) == words
    assert "&#" not in words


@pytest.mark.parametrize("text", ["p < 0.05", "[0.1, 0.2]", "hidden=[64,32] and B <= 8 & more", "a*b_c", "x -> y"])
def test_ordinary_sentences_are_left_alone(text):
    assert harmless(text) == text


@EVERY
def test_a_name_is_shown_as_it_is_written(name):
    """Escaped, it still reads the same: whoever looks at the page sees the name."""
    plain = visible(name).strip()
    if any(sign in plain for sign in "`*|\\"):  # emphasis and the like is not taken away
        return
    shown = re.sub("<[^>]*>", "", rendered(harmless(plain)))
    assert plain in HTMLText(shown).text


class HTMLText(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.feed(text)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data


@EVERY
def test_a_command_is_code_whatever_stands_in_it(name):
    rendered = as_a_browser_of_runs(code(f"python -m harness dataset.name={name}"))
    assert rendered.startswith("<p><code>")
    assert rendered.rstrip().endswith("</code></p>")
    loads_nothing(rendered)


@EVERY
def test_claims_and_findings_of_another_hand(name):
    claim = Claim("C1", *[name] * 5, plain={"supported": name})
    study = Study("made_up", name, {"C1": claim}, False)
    found = [Finding("C1", Verdict.SUPPORTED, name, unit=name, rows=[[name], [name]])]
    loads_nothing(as_a_browser_of_runs(findings.note(study, found)))
    record = findings.records(study, found) | {"command": name, "cells": "1", "seconds": 1.0}
    for text in (study_pages.index([record]), study_pages.study_page(record)):
        own = Page(as_a_browser_of_runs(text))
        assert own.tags & {"script", "img"} == set()
        elsewhere = [address for address in own.addresses if not address.startswith("findings/made_up.md#")]
        assert [address for address in elsewhere if "evil" in address or "javascript" in address] == []


# Pictures and files.


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["mathtext", "LaTeX", "letters", "signs of a terminal", "surrogate", "underscore"])
def test_pictures_of_any_name_are_drawn(kind):
    found = sweep(PLANTED[kind])
    pictures = figures(found.data, found.answer)
    assert {"to_target", "learning_rates", "outcomes"} < pictures.keys()
    assert max(figure.get_figwidth() for figure in pictures.values()) < 80
    assert all(png(figure).startswith(b"\x89PNG") for figure in pictures.values())
    names = file_names(list(pictures))
    assert all(fits_every_file_system(one) for one in names.values())


def test_matplotlib_would_read_a_name_as_a_formula():

    figure = Figure()
    figure.suptitle(PLANTED["mathtext"])
    with pytest.raises(ValueError, match="frac"):
        png(figure)


@pytest.mark.sample(6)
@EVERY
def test_pictures_of_a_cell_of_any_name_are_drawn(name):
    found = sweep("digits").data.histories
    one = found[found["cell"] == found["cell"].iloc[0]]
    costs = one.rename(columns={"train_cost": "batch_cost"})[["replica", "update", "batch_cost"]]
    drawn = cell_figures(one, costs, name)
    assert all(png(figure).startswith(b"\x89PNG") for figure in drawn.values())


def fits_every_file_system(name: str) -> bool:
    clean = not re.search(r'[\x00-\x1f/\\:*?"<>|]', name) and name == name.strip(" .")
    return clean and 0 < len(f"{name}.png".encode()) < 250


@EVERY
def test_file_names_lie_in_their_folder(name):
    titles = [name, f"clocks {name}", name.upper(), name.lower() + "\u00e9", name.lower() + "e\u0301", "", " ", "."]
    names = file_names(titles)
    assert list(names) == list(dict.fromkeys(titles))
    assert all(map(fits_every_file_system, names.values()))
    assert len({one.casefold() for one in names.values()}) == len(names)


def test_file_names_of_letters_of_four_bytes_and_of_numbers_that_are_taken(tmp_path):
    names = file_names(["\U00020000" * 600, "x", "x 1", "X", "x."])
    assert len(set(map(str.casefold, names.values()))) == 5
    for one in names.values():
        (Path(tmp_path) / f"{one}.png").touch()
    assert file_names(["clocks", "to_target"]) == {"clocks": "clocks", "to_target": "to_target"}


def test_a_label_that_begins_with_an_underscore_is_in_the_key():
    assert key("_private").get_label() == " _private"
    assert key("digits").get_label() == "digits"


@EVERY
def test_pictures_in_a_notebook_have_their_name_as_text(name):
    from matplotlib.figure import Figure

    loads_nothing(Figures({name: Figure()})._repr_html_())


# Names, terminals, the store.


@EVERY
def test_labels_are_one_line_of_what_is_seen(name):
    values = [{"dataset.name": name, "batch_size": B, "learning_rate": 0.1, "reduction": "mean"} for B in (8, 16)]
    for label in (*labels(values), sweep_label(values), sweep_label(values, "study")):
        assert SIGNS.search(label) is None
        assert "\n" not in label
        label.encode()
    assert len(sweep_label(values)) <= MAX_NAME


@EVERY
def test_a_message_moves_no_cursor(name, capsys):
    say(f"first {name}\nsecond")
    try:
        raise ValueError(name)
    except ValueError as error:
        print_traceback(error)
    shown = capsys.readouterr().err
    assert SIGNS.search(shown) is None
    assert "second\n" in shown
    assert f"{os.path.basename(__file__)}" in shown


@EVERY
def test_a_tag_is_text_that_every_database_holds(name):
    (value,) = _clean({"error": f"{name}\nsecond line"}).values()
    assert SIGNS.search(value) is None
    assert value.endswith("\nsecond line")


def test_names_that_differ_are_shown_differently():
    assert visible("\x1b") == r"\x1b"
    assert visible("a\nb\tc") == r"a\nb\tc"
    assert visible("a\nb\tc", kept="\n\t") == "a\nb\tc"
    assert visible("ηµ 日本 é – “x” \u200d") == "ηµ 日本 é – “x” \u200d"
