"""The report as a file: what its first screen says, what it loads, how large it is."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from harness.analysis import answer
from harness.analysis.variance import variance_shares
from harness.report import figures, note, page, png
from harness.report.titles import titled, winners
from harness.runs import front
from tests.synthetic import cell, evidence

MB = 1_000_000


def report(*cells, pictures=None, **options):
    one = evidence(*cells, **options)
    drawn = {name: png(figure) for name, figure in figures(one.data, one.answer).items()} if pictures else {}
    return page(one.data, one.answer, note(one.data, one.answer), drawn, lambda run_id: f"http://store/{run_id}")


def grid(finals, sizes=(1, 8, 64), rates=(0.1, 0.3, 1.0), reductions=("mean",)):
    return [
        cell(size, rate, reduction, final=finals(size, rate, reduction))
        for size in sizes
        for rate in rates
        for reduction in reductions
    ]


def best_in_the_middle(size, rate, reduction):
    return 0.05 * (1 + np.log(rate / 0.3) ** 2) * (1 + 0.5 * np.log(size))


class Parts(HTMLParser):
    """Addresses that a browser would load, and those that a reader may follow."""

    def __init__(self):
        super().__init__()
        self.loaded, self.followed, self.scripts = [], [], 0

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.scripts += tag == "script" and "src" not in given
        for name in ("src", "srcset", "data", "poster", "background", "action", "xlink:href"):
            if name in given:
                self.loaded.append(given[name])
        if "href" in given:
            (self.followed if tag == "a" else self.loaded).append(given["href"])


@pytest.mark.slow
def test_the_page_loads_nothing():
    parts = Parts()
    parts.feed(report(*grid(best_in_the_middle), pictures=True))
    assert parts.loaded
    assert all(address.startswith("data:image/webp;base64,") for address in parts.loaded)
    assert all(address.startswith(("#", "http://store/")) for address in parts.followed)


@pytest.mark.slow
def test_the_page_is_the_same_whenever_it_is_made():
    assert report(*grid(best_in_the_middle)) == report(*grid(best_in_the_middle))


@pytest.mark.slow
def test_a_page_of_fifty_cells_stays_below_two_megabytes():
    cells = grid(best_in_the_middle, (1, 4, 16, 64, 256), (0.01, 0.1, 0.3, 1.0, 3.0), ("sum", "mean"))
    assert len(report(*cells, pictures=True).encode()) < 2 * MB


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("finals", "chip"),
    [({1: 0.05, 64: 0.5}, "resolved"), ({1: 0.05, 64: 0.05}, "tied"), ({1: 0.05, 64: 0.0501}, "tied")],
)
def test_a_tile_says_how_sure_its_winner_is(finals, chip):
    cells = [cell(size, 0.1, final=final, noise=0.001) for size, final in finals.items()]
    tile = re.findall(r'<article class="tile ([\w-]+)">(.*?)</article>', report(*cells))[0]
    assert tile[0] == chip
    assert f">{chip}</span>" in tile[1]


def test_a_tile_without_a_verdict_says_why_and_shows_no_ratio():
    cells = [cell(1, 0.1), cell(1, 0.3, final=0.05), cell(64, 0.1), cell(64, 0.3, final=0.09)]
    tiles = re.findall(r'<article class="tile ([\w-]+)">(.*?)</article>', report(*cells))
    assert tiles[0][0] == "no-verdict"
    assert "a best learning rate is on the edge of its grid" in tiles[0][1]
    assert "<svg" not in tiles[0][1]


def test_a_tile_names_the_winner_in_full_and_the_ratio_of_the_headline():
    cells = [cell(1, 0.1, final=0.05), cell(64, 0.1, final=0.5)]
    one = evidence(*cells)
    lead = one.answer.headlines[0].leads[0]
    html = page(one.data, one.answer, note(one.data, one.answer), {}, str)
    (tile, *_) = re.findall(r'<article class="tile [\w-]+">(.*?)</article>', html)
    assert "B=1 (η=0.1, mean)" in tile
    assert f"{lead.comparison.ratio.estimate:.3g}" in tile


def test_the_numbers_of_the_page_are_those_of_the_tables():
    one = evidence(*grid(best_in_the_middle), cell(512, 1.0, final=None))
    html = page(one.data, one.answer, note(one.data, one.answer), {}, str)
    numbers = json.loads(re.search(r'id="numbers">(.*?)</script>', html)[1])
    scores = one.data.cells.set_index("cell")["score"]
    for given in numbers["cells"]:
        score = scores[given["id"]]
        assert given["cost"][1] == (pytest.approx(score, rel=1e-3) if np.isfinite(score) else None)
    assert {len(curve["epoch"]) for curve in numbers["curves"].values()} <= set(range(1, 61))


def test_no_name_ends_the_script_that_holds_the_numbers():
    cells = [
        cell(1, dataset="</script><script>alert(1)</script>"),
        cell(8, dataset="</script><script>alert(1)</script>"),
    ]
    html = report(*cells)
    assert "alert(1)</script>" not in html.replace("&lt;", "<").split('id="numbers">')[1].split("</script>")[0]
    parts = Parts()
    parts.feed(html)
    assert parts.scripts == 4


def test_a_sweep_without_a_finished_cell_has_a_page():
    data = evidence(cell(1), cell(8)).data
    unfinished = data.cells.assign(status="FAILED", score=np.nan)
    data = replace(data, cells=unfinished, replicas=data.replicas[:0], histories=data.histories[:0], blocks=None)
    found = answer(data)
    html = page(data, found, note(data, found), {}, str)
    assert "All cells" in html
    assert "<script>" not in html


def test_the_parts_of_the_variance_are_those_of_a_planted_grid():
    """log cost = a(B) + b(η) + noise with known a, b: the parts follow by hand."""
    a, b = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5])
    cells = [
        cell(size, rate, final=float(np.exp(-3 + a[i] + b[j])), noise=0.0)
        for i, size in enumerate((1, 8, 64))
        for j, rate in enumerate((0.1, 0.3))
    ]
    one = evidence(*cells, shared=0.0)
    (found,) = variance_shares(one.data.finished, one.answer.final_costs)
    whole = a.var() + b.var()
    assert found.shares["batch_size"] == pytest.approx(a.var() / whole, rel=1e-3)
    assert found.shares["learning_rate"] == pytest.approx(b.var() / whole, rel=1e-3)
    assert sum(found.shares.values()) == pytest.approx(1)


def test_parts_of_the_variance_leave_out_rates_that_diverge_and_say_so():
    finals = {
        (size, rate): None if (size, rate) == (64, 1.0) else 0.1 for size in (1, 8, 64) for rate in (0.1, 0.3, 1.0)
    }
    one = evidence(*[cell(size, rate, final=final) for (size, rate), final in finals.items()])
    (found,) = one.answer.shares
    assert found.left_out == (1.0,)
    assert found.n_cells == 6
    assert "without learning rates 1, where a cost is infinite" in note(one.data, one.answer)


def test_a_grid_with_a_hole_has_no_parts():
    cells = [cell(1, 0.1), cell(1, 0.3), cell(8, 0.1)]
    assert evidence(*cells).answer.shares == []


def over_datasets(effects, noise=0.1, rates=(0.1,), **other):
    """effects: dataset -> factor by which the cost of B = 8 differs from that of B = 1."""
    finals = {(name, size): 0.1 * (factor if size == 8 else 1) for name, factor in effects.items() for size in (1, 8)}
    return evidence(
        *[
            cell(size, rate, dataset=name, final=final * (1 + abs(np.log(rate / 0.1))), noise=noise)
            for (name, size), final in finals.items()
            for rate in (rates if size == 8 else other.get("rates_of_1", rates))
        ]
    ).answer.improvements


def test_over_datasets_a_planted_value_is_lower_in_every_replica_and_equal_ones_in_half():
    (planted,) = over_datasets(dict.fromkeys(("iris", "wine", "digits"), 2.0))
    assert (planted.along, planted.first, planted.second, planted.n) == ("batch_size", 1, 8, 3)
    assert planted.probability.estimate == 1
    (same,) = over_datasets(dict.fromkeys(("iris", "wine", "digits"), 1.0))
    assert 0.5 in same.probability


def test_over_datasets_nothing_is_said_of_values_that_were_not_tuned_alike_or_of_a_single_dataset():
    names = ("iris", "wine")
    assert over_datasets(dict.fromkeys(names, 2.0), rates=(0.03, 0.1, 0.3), rates_of_1=(0.1,)) == []
    assert over_datasets(dict.fromkeys(names, 2.0), rates=(0.1, 0.3)) == []  # the best is on the edge
    assert len(over_datasets(dict.fromkeys(names, 2.0), rates=(0.03, 0.1, 0.3))) == 1
    assert over_datasets({"iris": 2.0}) == []


def test_costs_that_are_all_equal_have_no_parts_of_variance():
    cells = [cell(size, rate, final=0.1, noise=0.0) for size in (1, 8) for rate in (0.1, 0.3)]
    assert evidence(*cells, shared=0.0).answer.shares == []


def test_cells_of_several_datasets_are_not_ranked_against_each_other():
    """Costs of one are a tenth of those of the other."""
    cells = [
        cell(8, rate, dataset=name, final=final * (1 + rate))
        for name, final in (("a", 1.0), ("b", 0.1))
        for rate in (0.3, 0.1)
    ]
    one = evidence(*cells)
    order = list(one.data.best_first["label"])
    assert [label.split()[0] for label in order] == ["a", "a", "b", "b"]
    assert "η=0.1" in order[0]
    assert "η=0.1" in order[2]
    assert "lowest" not in titled("outcomes", one.data, one.answer)
    assert "sweep/lowest_train_cost" not in front.metrics(one.data)


def test_a_title_names_cells_in_full():
    one = evidence(cell(8, final=0.05, **{"optimizer.name": "adam"}), cell(8, final=0.2, **{"optimizer.name": "sgd"}))
    (words,) = winners(one.answer).values()
    assert words.startswith("optimizer=adam, B=8 (η=0.1, mean) has a lower training cost than optimizer=sgd, B=8 (")
    assert "of optimizer=adam, B=8 (η=0.1, mean)" in titled("outcomes", one.data, one.answer)


def test_a_title_says_no_more_than_its_test():
    one = evidence(cell(1, final=0.05), cell(8, final=0.2), cell(64, final=0.21))
    assert winners(one.answer)[one.answer.headlines[0].of].startswith(
        "B=1 (η=0.1, mean) has a lower training cost than B=8"
    )
    same = evidence(*[cell(size, noise=0.3) for size in (1, 8, 64)], shared=0.0)
    assert "has a lower" not in " ".join(winners(same.answer).values())
