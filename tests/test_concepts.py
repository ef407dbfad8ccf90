"""The pages of docs/concepts: pictures come from numbers with a closed form, and examples print what they say.

The numbers of a picture come from `docs.concepts.picture_data`; those worked by hand on a page are computed again here.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from docs.concepts import figures
from docs.concepts import picture_data as data

ROOT = Path(__file__).parents[1]
PAGES = {page.stem: page.read_text(encoding="utf8") for page in (ROOT / "docs" / "concepts").glob("*.md")}
CONCEPTS = sorted(set(PAGES) - {"index"})
MOST_BYTES = 100_000


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    figures.main(folder)
    return folder


@pytest.mark.slow
def test_the_command_draws_the_picture_of_every_page(pictures):
    drawn = {picture.stem for picture in pictures.iterdir()}
    assert drawn == set(CONCEPTS) == set(figures.FIGURES)
    for name in CONCEPTS:
        assert f"]({name}.svg)" in PAGES[name]
        assert (pictures / f"{name}.svg").stat().st_size <= MOST_BYTES
        assert (ROOT / "docs" / "concepts" / f"{name}.svg").stat().st_size <= MOST_BYTES


@pytest.mark.slow
def test_a_picture_drawn_twice_is_the_same_file(pictures, tmp_path):
    figures.main(tmp_path)
    for picture in tmp_path.iterdir():
        assert picture.read_bytes() == (pictures / picture.name).read_bytes(), picture.name


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_page_has_all_its_parts_and_the_index_names_it(name):
    page = PAGES[name]
    parts = ("**The question.**", "## The equation", "## The picture", "## By hand", "## Try it", "## When it does not")
    places = [page.index(part) for part in (*parts, "## Where it is tested")]
    assert places == sorted(places)
    assert len(re.findall(r"^```python$", page, re.MULTILINE)) == 1
    assert f"]({name}.md)" in PAGES["index"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", CONCEPTS)
def test_the_example_of_a_page_prints_what_it_says(name, capsys, tmp_path, monkeypatch):
    """Its lines that begin with # are printed, in this order; others (times of this machine) may come between."""
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGES[name], re.DOTALL | re.MULTILINE)
    expected = re.findall(r"^# (.*)$", example, re.MULTILINE)
    exec(example, {})
    printed = capsys.readouterr().out.splitlines()
    assert expected
    assert [line for line in printed if line in expected] == expected
    assert not list(tmp_path.iterdir())


# The numbers behind the pictures, and those worked by hand


def test_gradients_of_the_four_examples():
    gradients = data.example_gradients(data.X, data.Y)
    np.testing.assert_array_equal(gradients, [[-1, -0.5], [-0.5, 0.5], [-0.5, -0.5], [1, -0.5]])
    mean, spread = data.noise(gradients)
    np.testing.assert_array_equal(mean, [-0.25, -0.25])
    assert (spread, spread / (mean @ mean)) == (0.75, 6)
    n2, q, B = np.square(gradients).sum(axis=1).mean(), mean @ mean, 4
    assert (B * q - n2) / (B - 1) == -0.125


@pytest.mark.parametrize(("reduction", "times"), [("mean", 1), ("sum", 8)])
def test_costs_in_the_bowl_follow_the_closed_form(reduction, times):
    """(1 − ηλ)^2t, with ηB in place of η for a sum."""
    rates = np.array([0.01, 0.1, 0.3])
    costs = data.relative_costs(rates, reduction, updates=10, n_examples=8, curvature=1.5)
    expected = (1 - 1.5 * times * rates[:, None]) ** (2 * np.arange(11))
    np.testing.assert_allclose(costs, expected, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_all_batches_together_follow_the_law_of_sampling(batch_size):
    gradients = data.example_gradients(data.X, data.Y)
    law = data.sampling_law(0.75, batch_size, 4)
    assert data.mean_squared_distance(gradients, batch_size) == pytest.approx(law, abs=1e-15)


def test_drawn_batches_follow_the_law_of_sampling():
    gradients = data.example_gradients(*data.noisy_examples(), w=0.5, b=-0.3)
    mean, spread = data.noise(gradients)
    for size in (1, 4, 16):
        batches = data.batch_means(gradients, size, 4000)
        measured = np.square(batches - mean).sum(axis=1).mean()
        assert measured == pytest.approx(data.sampling_law(spread, size, 40), rel=0.1)


def test_updates_and_examples_of_the_law_are_tied():
    sizes = np.array([1, 50, 500, 5000])
    updates = data.updates_to_target(sizes, 10, 50)
    np.testing.assert_allclose(updates, [510, 20, 11, 10.1])
    np.testing.assert_allclose((updates / 10 - 1) * (updates * sizes / 500 - 1), 1)


def test_clocks_count_batches():
    """Updates per epoch are N/B, rounded up, with N = 90."""
    for size, course in data.courses().items():
        per_epoch = -(-90 // (90 if size == "full" else size))
        assert course["update"][-1] == 30 * per_epoch
        assert course["examples"][-1] == 2700


def test_single_examples_have_a_lower_limit_than_the_whole_set():
    """x² is 1 or 4: the mean square of 1 − ηx² is 1 at 5/8.5, where the whole set, of curvature 2.5, is far from 2."""
    rate = 5 / 8.5
    assert np.mean([(1 - rate) ** 2, (1 - 4 * rate) ** 2]) == pytest.approx(1)
    assert rate * 2.5 < 2
