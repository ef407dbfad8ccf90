"""A paper from an answer: it compiles without a warning whatever names hold, and every number is the answer's."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import cell, evidence

from harness.analysis import Claim, Finding, Panel, Series, Study
from harness.inference import Interval, Verdict
from harness.report import Origin, headlines, paper, records
from harness.report.latex import tex_number
from harness.report.paper_numbers import Numbers

sys.path.insert(0, str(Path(__file__).parent))
from test_escaping import PLANTED  # names that mean something somewhere

pytestmark = pytest.mark.xdist_group("paper")  # one worker builds the module's fixture, once

NAMES = {
    **PLANTED,
    "accents": "η, é, 日本, Ångström, ﬁ, 😀",
    "signs": "$ _ % # & ~ ^ \\ { } [x] *",
    "tail": "ends in \\",
}
MACRO = re.compile(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}% (\S+): (.*); runs? ([0-9a-z ]+)$", re.MULTILINE)
ORIGIN = Origin(["5weep"], {"Commands": ["python -m harness -m 'x=~$1'"], "Code": ["a" * 200]}, 12.0)


def swept(dataset="digits", other="x.csv", rates=(0.05, 0.1, 0.3, 1.0), sizes=(1, 8, 64), **options):
    grid = [(B, rate, how) for B in sizes for rate in rates for how in ("sum", "mean")]
    made = [
        cell(
            B,
            rate / (B if how == "sum" else 1),
            how,
            dataset=dataset,
            final=0.1 * (1 + abs(np.log(rate / 0.2))),
            **options,
        )
        for B, rate, how in grid
    ]
    lost = cell(8, 30.0, "mean", dataset=dataset, final=None)
    beside = cell(8, 0.1, dataset=other, **{"dataset.load.path": dataset})
    return evidence(*made, lost, beside, n_replicas=7)


def written(found, judged=None):
    return paper(found.data, found.answer, headlines(found.answer), ORIGIN, judged)


@pytest.fixture(scope="module")
def found():
    return swept()


@pytest.fixture(scope="module")
def files(found):
    return written(found, STUDY)


CLAIM = Claim("C1", "Larger is better_$.", "η", "m", "s", "r")
PANEL = Panel("updates", "batch size (examples)", "updates", [Series("a", [1, 8], [3, 2], [2, 1], [4, np.inf])])
EFFECT = Finding("C1", Verdict.SUPPORTED, "It is 3 %.", "times", Interval(3.0, 2.0, 4.0), 7, [PANEL])
STUDY = (Study("mine", "Is it_so?", {"C1": CLAIM}), [EFFECT])


def compiled(files, folder: Path) -> str:
    """The log of the second run of pdflatex."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stdout.decode("latin1")[-2000:]
    return (folder / "main.log").read_text(encoding="latin1")


def complaints(log: str) -> list[str]:
    return re.findall(r"^.*(?:Warning|Overfull|Underfull|Missing|Undefined|^!).*$", log, re.MULTILINE)


@pytest.mark.slow
def test_it_compiles_without_a_warning(files, tmp_path):
    log = compiled(files, tmp_path)
    assert complaints(log) == []
    assert re.search(r"Output written on main.pdf \(\d+ pages", log)


def named(names):
    """A sweep with each name as data, as path and in the sentence of a claim."""
    cells = [
        cell(B, 0.1, dataset=name, n_train=64, **{"dataset.load.path": name, "seed": i})
        for i, name in enumerate(names)
        for B in (8, 16)
    ]
    claim = Claim("C_1$", " ".join(names), "", "", "", "")
    finding = Finding("C_1$", Verdict.REFUTED, "% & 3", "η_%", Interval(1e-6, -np.inf, np.inf), 3)
    return written(evidence(*cells, n_replicas=3), (Study("x", names[0], {"C_1$": claim}), [finding]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accents", "signs", "letters", "tail"])
def test_with_a_name_that_latex_would_read_it_compiles(name, tmp_path):
    assert complaints(compiled(named([NAMES[name]]), tmp_path)) == []


@pytest.mark.slow
def test_with_every_name_it_compiles_without_a_warning(tmp_path):
    files = named(list(NAMES.values()))
    assert b"more figures" in files["main.tex"]
    assert complaints(compiled(files, tmp_path)) == []


@pytest.mark.slow
def test_of_a_sweep_without_a_finished_cell_it_compiles(tmp_path):
    lost = evidence(*(cell(B, 1.0, final=None) for B in (1, 8)), n_replicas=3)
    assert complaints(compiled(written(lost), tmp_path)) == []


def test_every_number_is_a_macro_with_its_runs(files, found):
    macros = MACRO.findall(files["numbers.tex"].decode())
    assert len(macros) == files["numbers.tex"].count(b"\\newcommand")
    assert len({name for name, *_ in macros}) == len(macros) > 100
    known = {"5weep", *found.data.cells["run_id"]}
    for _, text, value, what, runs in macros:
        assert text == tex_number(float(value))
        assert set(runs.split()) <= known
        assert what
    used = b"".join(content for name, content in files.items() if name.startswith(("table", "repro")))
    for name, *_ in macros:
        assert b"\\" + name.encode() + b"{}" in used


@pytest.mark.slow
def test_the_table_of_macros_has_all_of_them(files):
    names = [name for name, *_ in MACRO.findall(files["numbers.tex"].decode())]
    rows = files["table-numbers.tex"].decode().split(r"\endfoot")[1]
    assert re.findall(r"& \\(\w+)\{\} &", rows) == names


def test_numbers_are_those_of_the_answer(files, found):
    value = {name: float(text) for name, _, text, *_ in MACRO.findall(files["numbers.tex"].decode())}
    told = records(found.data, found.answer)
    lead = next(one for one in told["comparisons"] if one["of"].startswith("digits") and one["clock"] == "epochs")
    (name,) = [key for key in value if key.startswith("Digits") and key.endswith("EqualEpochsLowest")]
    start = name.removesuffix("Lowest")
    assert value[name] == lead["lowest_cost"]
    assert value[f"{start}Next"] == lead["next_cost"]
    assert value[f"{start}Budget"] == lead["budget"]
    assert [value.get(f"{start}{key}") for key in ("Ratio", "RatioLow", "RatioHigh", "P")] == [
        lead[key] for key in ("ratio", "ratio_low", "ratio_high", "p")
    ]
    costs = sorted(number for key, number in value.items() if re.search(r"Rate\w+(Mean|Sum)Cost$", key))
    assert [cost for cost in costs if np.isfinite(cost)] == sorted(
        one["train_cost"] for one in told["cells"] if one["train_cost"] is not None
    )
    assert value["ClaimCOneEffectHigh"] == 4.0


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from([1.0, 2.0]), st.sampled_from("xy")), max_size=8))
def test_no_macro_stands_for_two_numbers(put):
    numbers = Numbers()
    used = [numbers.put(name, value, what, ["run"]) for name, value, what in put]
    value = {rf"\{number.name}{{}}": (number.value, number.what) for number in numbers}
    assert [value[text] for text in used] == [(number, what) for _, number, what in put]


def test_a_number_that_does_not_exist_has_no_macro():
    numbers = Numbers()
    assert numbers.put("A", np.nan, "nothing", []) == ""
    assert numbers.interval("B", Interval(1.0, np.nan, np.nan), "one", ["r"]) == r"\B{}"
    assert [number.name for number in numbers] == ["B"]


def test_figures_are_as_wide_as_a_column_with_truetype_letters(files):
    pictures = {name: content for name, content in files.items() if name.endswith(".pdf")}
    assert {"figure-clocks-digits-1.pdf", "figure-claim-C1-1.pdf"} <= set(pictures) or len(pictures) > 6
    for content in pictures.values():
        (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", content)
        assert float(box[0]) == pytest.approx(3.3 * 72, abs=0.01)
        assert b"/Type3" not in content
        assert b"/Subtype /Image" not in content  # vectors only
        assert b"/FontFile2" in content


@pytest.mark.slow
def test_the_same_answer_gives_the_same_bytes(files, found):
    assert written(found, STUDY) == files
