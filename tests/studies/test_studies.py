"""Every study of experiments/: it says what it will measure, and its small form goes through to verdicts."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import START, cell, evidence

from harness.analysis.evidence import Evidence, at_the_edge, quartiles
from harness.analysis.parts import WALL
from harness.analysis.study import Claim, Finding, Study, judged
from harness.analysis.timing import ONE_READING
from harness.app import verbs
from harness.config import ConfigError
from harness.inference.verdicts import Verdict
from harness.report.markdown import price as price_in_words
from harness.report.notes import note
from harness.runs import studies
from harness.store.client import Client
from harness.store.tracking import Store

NAMES = studies.names()


def test_there_are_studies():
    assert {"three_methods", "vectorisation", "large_n", "typical_sizes"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_fixes_what_would_support_and_refute_every_claim(name):
    study = studies.definition(name)
    assert study.name == name
    assert study.claims


def test_a_claim_has_one_name_over_all_studies_and_its_question_and_answers_are_said_in_plain_words():
    claims = [claim for name in NAMES for claim in studies.definition(name).claims.values()]
    assert len({claim.id for claim in claims}) == len(claims)
    assert [claim.id for claim in claims if not {"question", "supported", "refuted"} <= set(claim.plain)] == []


def papers_without_a_mark(source):
    """Of each paper, `Name 2003`, it is said how much of it was read: before the next one, or of both at once."""
    after = re.split(r"[\w.] (?:19|20)\d\d\b(?!\.\d)", source)[1:]
    both = re.search(r"both (from memory|read)", source)
    return [text for text in after if not both and not re.search(r"\bread\b|from memory", text)]


@pytest.mark.parametrize(
    ("source", "n"),
    [
        ("Wilson & Martinez 2003: fewer epochs", 1),
        ("Goyal et al. 2017 (abstract read); Hoffer et al. 2017", 1),
        ("McCandlish et al. 2018; doubted by Merrill et al. 2025 (abstract read)", 1),
        ("Krizhevsky 2014; Hoffer et al. 2017 (both from memory)", 0),
        ("blog: it takes too long when m > 2000", 0),
    ],
)
def test_a_paper_without_a_mark_is_found(source, n):
    assert len(papers_without_a_mark(source)) == n


def test_of_every_paper_it_is_said_how_much_of_it_was_read():
    sources = {claim.id: claim.source for name in NAMES for claim in studies.definition(name).claims.values()}
    assert [claim for claim, source in sources.items() if papers_without_a_mark(source)] == []


def test_times_per_example_come_in_the_blocks_of_the_timing_pass():
    of = evidence(*(cell(B, update_us=B * (1.0 + B / 1000), block_noise=0.1) for B in (64, 32)))
    table, of_64 = of.blocks(of.cells), of.cells.set_index("batch_size")["cell"][64]
    blocks = of.data.blocks
    assert list(table.columns) == [32, 64]
    assert list(table.index) == list(range(20))
    own = blocks.loc[blocks["signature"] == of_64, "update_seconds"].to_numpy()
    assert table[64].to_numpy() == pytest.approx(1e6 * own / 64)
    assert of.to_target[of_64]["seconds"] == pytest.approx(of.to_target[of_64]["updates"] * own[:10])


def test_of_an_interrupted_block_its_cpu_time_counts():
    of = evidence(cell(64, update_us=64.0))
    stopped = of.data.blocks.assign(
        interrupted=of.data.blocks["block"] == 3, update_seconds=lambda table: table["update_seconds"] * 9
    )
    of = Evidence(replace(of.data, blocks=stopped), of.answer, of.download, of.rng)
    assert of.blocks(of.cells)[64].to_numpy() == pytest.approx([9.0] * 3 + [1.0] + [9.0] * 16)


def test_seconds_are_those_of_replicas_that_were_timed_independently():
    of = evidence(cell(64))
    of = Evidence(replace(of.data, blocks=of.data.blocks.query("block < 4")), of.answer, of.download, of.rng)
    (own,) = of.to_target.values()
    assert (len(own["seconds"]), len(own["updates"])) == (4, 10)


def on_machines(of, *texts):
    """The same evidence, its cells trained with these arithmetics in turn."""
    cells = of.data.cells.assign(arithmetic=[texts[i % len(texts)] for i in range(len(of.data.cells))])
    return Evidence(replace(of.data, cells=cells, here='{"numpy": "3"}'), of.answer, of.download, of.rng)


@pytest.mark.parametrize(
    ("exact", "machines", "verdict"),
    [
        ("cells", ['{"numpy": "2"}', '{"numpy": "3"}'], "unresolved"),
        ("cells", ['{"numpy": "2"}', ""], "unresolved"),
        ("cells", ['{"numpy": "2"}'], "refuted"),
        ("cells", ['{"numpy": "2"}', '{"numpy": "2", "numba": "1"}'], "refuted"),  # another engine on one machine
        ("again", ['{"numpy": "2"}'], "unresolved"),
        ("again", ['{"numpy": "3"}'], "refuted"),
        ("", ['{"numpy": "2"}', '{"numpy": "3"}'], "refuted"),
    ],
)
def test_cells_of_another_machine_refute_nothing_exact(exact, machines, verdict):
    texts = dict.fromkeys(("says", "source", "measure", "supported", "refuted"), "x")
    study = Study("mine", "Why?", {"A1": Claim("A1", **texts, exact=exact)})
    of = on_machines(evidence(cell(1), cell(64)), *machines)
    (found,) = judged(study, lambda _: [Finding("A1", Verdict.REFUTED, "They differ.")], of)
    assert found.verdict == verdict
    assert ("different arithmetic" in found.sentence) == (verdict == "unresolved")
    (kept,) = judged(study, lambda _: [Finding("A1", Verdict.SUPPORTED, "Equal.")], of)
    assert (kept.verdict, kept.sentence) == ("supported", "Equal.")


def test_every_claim_that_is_judged_by_bits_of_cells_says_so():
    exact = {(name, key): claim.exact for name in NAMES for key, claim in studies.definition(name).claims.items()}
    assert {key for (name, key), how in exact.items() if how == "again"} == {"C4", "K3", "K4", "K5", "K6"}
    assert exact["sum_vs_mean", "C2.power"] == exact["order", "C18"] == "cells"
    assert set(exact.values()) == {"", "cells", "again"}


def test_the_note_says_that_cells_were_trained_on_different_machines():
    of = evidence(cell(1), cell(64))
    several = on_machines(of, '{"numpy": "2", "cpu": "A"}', '{"numpy": "2", "cpu": "B"}')
    assert "different arithmetic (cpu: A | B), so bits need not repeat" in note(several.data, several.answer)
    one = on_machines(of, '{"numpy": "2", "cpu": "A"}')
    assert "arithmetic" not in note(one.data, one.answer).split("###")[0]


def test_a_price_is_what_the_dearest_effect_needs():
    data: Any = SimpleNamespace(finished=pd.DataFrame({WALL: [30.0, 30.0]}))
    of = Evidence(data, SimpleNamespace(n_replicas=4), None, np.random.default_rng(0))  # type: ignore[arg-type]
    assert of.price([6, 12], n=4) == (12, 180.0)  # three times the replicas, three times the minute
    assert price_in_words(of.price([8], n=2)) == " With the constants as stated about 16 seeds would tell (4 min)."
    assert price_in_words(of.price([6, None], n=4)) == price_in_words(of.price([], n=4)) == ""


def test_an_edge_says_where_to_extend_the_grid():
    of = evidence(*(cell(64, rate, final=0.1 / rate) for rate in (0.1, 1.0, 2.0)), n_replicas=3)
    assert "digits B=64: add higher rates" in at_the_edge(of.answer.best)
    assert at_the_edge(of.answer.best.iloc[:0]) == ""


def test_cells_with_fewer_replicas_than_others_choose_their_own_rates():
    rates = (0.1, 1.0, 10.0)
    of = evidence(*(cell(64, rate, seeds=n) for n in (1, 12) for rate in rates))
    found = of.answer.targets.set_index("setting")
    assert found["n_replicas"].to_dict() == {"digits seeds=1": 1, "digits seeds=12": 6}


def test_a_note_says_of_each_target_where_it_comes_from():
    of = evidence(cell(64), cell(64, target=0.2), n_replicas=3)
    assert of.answer.given_targets == {"digits target=0.2"}
    words = note(of.data, of.answer)
    assert "digits target=0.2: target training cost 0.2 per example, as given." in words
    assert f"digits: target training cost {START / 10:g} per example, a tenth of the initial one." in words


def test_quartiles_are_values_that_were_observed():
    """A training that never arrives has infinitely many updates; between it and another lies nothing."""
    middle, low, high = quartiles([[1, 2, 3, np.inf, np.inf], [np.inf] * 3, [4.0, np.nan], []])
    assert (middle[:3], low[:3], high[:3]) == ([3, np.inf, 4], [2, np.inf, 4], [np.inf, np.inf, 4])
    assert np.isnan([middle[3], low[3], high[3]]).all()


def test_the_judge_in_the_guide_judges():
    guide = (studies.EXPERIMENTS / "README.md").read_text(encoding="utf8")
    (example,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    rules = {"momentum": 0.01, "sgd": 0.1}
    cells = [
        cell(1024, dataset=dataset, final=final, **{"optimizer.name": rule})
        for dataset in ("iris", "wine")
        for rule, final in rules.items()
    ]
    (found,) = names["judge"](evidence(*cells))
    assert found.verdict is Verdict.SUPPORTED
    assert found.sentence == "With momentum the target takes fewer updates on 2 of 2 datasets."
    assert [row[0] for row in found.rows] == ["data", "iris", "wine"]
    assert found.rows[1][1].startswith("0.")


def test_a_study_about_seconds_concludes_nothing_from_one_reading():
    claim = Claim("T1", "fast", "nobody", "seconds", "few", "many")
    of = evidence(cell(64))
    beside = Evidence(replace(of.data, timing=ONE_READING), of.answer, of.download, of.rng)
    timed, other = (Study("made_up", "?", {"T1": claim}, timed=timed) for timed in (True, False))
    found = Finding("T1", Verdict.SUPPORTED, "")
    assert judged(timed, lambda _: [found], of) == judged(other, lambda _: [found], beside) == [found]
    (refused,) = judged(timed, lambda _: [found], beside)
    assert refused.verdict is Verdict.UNRESOLVED
    assert "One reading" in refused.sentence


@pytest.mark.slow
def test_a_launcher_is_for_every_study(project, monkeypatch):
    """Seconds are measured after training, in one process."""
    given = []
    monkeypatch.setattr(verbs, "train", lambda words, composed, result: given.append(words) or 0)
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    code, said = project.run("studies", "noise", "large_n", *launcher, "seeds=3")
    assert code == 0, said
    assert given == [["-m", f"experiment={name}", *launcher, "seeds=3"] for name in ("noise", "large_n")]


@pytest.mark.drawn
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_small_form_ends_with_a_verdict_on_every_claim(project, name, tmp_path):
    code, said = project.run("studies", name, "size=small")
    assert code == 0, said
    (sweep,) = project.runs("sweep")
    found = json.loads(project.artifact(sweep, "findings.json").read_text(encoding="utf8"))["findings"]
    assert [row["claim"]["id"] for row in found] == list(studies.definition(name).claims)
    assert {row["verdict"] for row in found} <= {str(verdict) for verdict in Verdict}
    tags = {key: value for key, value in sweep.data.tags.items() if key.startswith(studies.TAG)}
    assert tags == {f"{studies.TAG}{row['claim']['id']}": row["verdict"] for row in found}
    for row in found:
        assert not re.search(r"\bnan\b", row["sentence"]), row["sentence"]
        assert row["picture"] is None or f"figures/{row['picture']}" in project.files(sweep, "figures")
    kept = project.files(sweep)
    store = Store(Client(project.client.tracking_uri), sweep.info.experiment_id, tmp_path)
    index = studies.write_pages(store, "small", tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert project.files(sweep) == kept  # pages take copies
    assert studies.write_pages(store, "small", tmp_path) == index
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written
    page = index.with_suffix("") / f"{name}.md"
    text = page.read_text(encoding="utf8")
    for row in found:
        assert f"The claim: {row['claim']['says']}" in text
        assert row["sentence"] in text
        assert f"| {row['plain']} | **{row['verdict']}** [{row['claim']['id']}](findings/{name}.md#" in index.read_text(
            encoding="utf8"
        )
    for link in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (page.parent / link.replace("%20", " ")).read_bytes().startswith(b"\x89PNG")


def test_without_runs_every_claim_is_listed_without_a_verdict(project):
    code, said = project.run("studies")
    assert code == 0
    for name in NAMES:
        for claim in studies.definition(name).claims.values():
            assert re.search(rf"^  {re.escape(claim.id)} +- +{re.escape(claim.says)}$", said, re.MULTILINE)


def test_a_study_that_does_not_exist_is_refused(project):
    code, said = project.run("studies", "nonsense")
    assert code == 2
    assert said.startswith("harness: studies: expected --all | ")
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [["noise", "foo=bar"], ["noise", "order", "batch_size=0"], ["seeds=3"]])
def test_words_that_no_study_takes_are_refused_in_one_line(project, words):
    code, said = project.run("studies", *words)
    assert code == 2
    assert said.startswith(f"harness: {'studies' if len(words) == 1 else words[-1].partition('=')[0]}: expected ")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_study_that_does_not_take_the_words_does_not_stop_the_next(project, monkeypatch):
    given, check = [], verbs.checked_cells

    def refusing(words):
        if "experiment=noise" in words:
            raise ConfigError("x", "y", "z")
        return check(words)

    monkeypatch.setattr(verbs, "checked_cells", refusing)
    monkeypatch.setattr(verbs, "train", lambda words, composed, result: given.append(words[1]) or 0)
    code, said = project.run("studies", "noise", "order")
    assert (code, given) == (1, ["experiment=order"])
    assert "harness: noise: x: expected y, got 'z'" in said
    assert "Without an answer: noise." in said


def test_small_is_a_size_of_studies(project):
    code, said = project.run("size=small")
    assert code == 2
    assert "size: expected small together with experiment=NAME only" in said


def test_a_study_whose_claims_say_too_little_is_refused_before_anything_is_written(project):
    code, said = project.run("-m", "experiment=three_methods", "study.claims.C4.refuted=''", "size=small")
    assert code == 2
    assert "study.claims.C4: expected a sentence for each of" in said
    assert project.client.get_experiment_by_name(project.experiment) is None


@pytest.mark.parametrize("flush", [True, False])
def test_the_reader_of_a_long_answer_may_stop(flush):
    answer = f"command._run = lambda *words: print('a claim\\n' * 100_000, flush={flush}) or 0"
    code = f"from harness.app import command; {answer}; raise SystemExit(command.main())"
    command = f'set -o pipefail; {sys.executable} -c "{code}" | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("a claim\n", "", 0)
