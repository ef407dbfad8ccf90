"""What cells are called: two cells of one sweep never share a name, and no name says what another word implies."""

from dataclasses import replace

from configs import configured

from harness.config import Config, OptimizerConfig
from harness.config.labels import labels, sweep_label
from harness.training.identity import decisive_values

SGD = OptimizerConfig("sgd", 0.0, None)
ADAM = OptimizerConfig("adam", 0.0, None, beta1=0.9, beta2=0.999, epsilon=1e-8)
N_TRAIN = 1437


def named(*configs: Config) -> list[str]:
    return labels([decisive_values(config, N_TRAIN) for config in configs])


def names_of(*optimizers: OptimizerConfig) -> list[str]:
    found = named(*(replace(configured(), optimizer=optimizer) for optimizer in optimizers))
    return [name.removeprefix("three B=8 η=0.1 mean").strip() for name in found]


def test_the_name_of_a_rule_stands_for_what_it_brings_along():
    assert names_of(SGD, ADAM) == ["optimizer=sgd", "optimizer=adam"]


def test_what_varies_within_a_rule_is_named_beside_it():
    decayed = replace(SGD, weight_decay=0.05)
    assert names_of(SGD, decayed, replace(ADAM, weight_decay=0.05)) == [
        "optimizer=sgd weight_decay=0", "optimizer=sgd weight_decay=0.05", "optimizer=adam weight_decay=0.05",
    ]  # fmt: skip


def test_what_a_cell_does_not_have_is_not_named():
    small = replace(ADAM, epsilon=1e-3)
    assert names_of(SGD, ADAM, small) == [
        "optimizer=sgd", "optimizer=adam epsilon=1e-08", "optimizer=adam epsilon=0.001",
    ]  # fmt: skip


def names_of_datasets(*datasets: tuple[str, object]) -> list[str]:
    base = configured()
    return named(*(replace(base, dataset=replace(base.dataset, name=name, load={"n": n})) for name, n in datasets))


def test_a_dataset_stands_for_its_arguments():
    assert names_of_datasets(("a", 3), ("b", 5)) == ["a B=8 η=0.1 mean", "b B=8 η=0.1 mean"]


def test_arguments_that_differ_within_a_dataset_are_said():
    """Or two cells would have one name."""
    found = names_of_datasets(("a", 3), ("a", 5), ("b", 5))
    assert found == ["a B=8 η=0.1 mean n=3", "a B=8 η=0.1 mean n=5", "b B=8 η=0.1 mean n=5"]


def test_a_text_with_blanks_or_commas_is_in_quotes():
    assert names_of_datasets(("a", "price mean"), ("a", "x,y"), ("a", "z")) == [
        'a B=8 η=0.1 mean n="price mean"', 'a B=8 η=0.1 mean n="x,y"', "a B=8 η=0.1 mean n=z",
    ]  # fmt: skip
    assert names_of_datasets(("mean t", 3)) == ['"mean t" B=8 η=0.1 mean']


def test_a_list_is_whole():
    found = named(configured(model_hidden=[64, 32]), configured(model_hidden=[16, 32]))
    assert found == ["three B=8 η=0.1 mean hidden=[64,32]", "three B=8 η=0.1 mean hidden=[16,32]"]


def test_numbers_get_the_digits_that_tell_them_apart():
    close = named(configured(learning_rate=0.1), configured(learning_rate=0.10000001))
    assert close == ["three B=8 η=0.1 mean", "three B=8 η=0.10000001 mean"]
    third = configured(learning_rate=1 / 3)
    assert named(third, configured()) == ["three B=8 η=0.333333 mean", "three B=8 η=0.1 mean"]


def test_the_whole_set_is_named_by_its_size_and_a_scaled_rate_by_what_it_comes_to():
    assert named(configured(batch_size="full")) == named(configured(batch_size=5000)) == ["three B=1437 η=0.1 mean"]
    assert named(configured(batch_size=128, learning_rate_rule="linear")) == ["three B=128 η=0.2 mean"]


def test_keys_of_one_last_word_are_named_in_full():
    base = configured()
    configs = [replace(base, seed=seed, dataset=replace(base.dataset, load={"seed": 7 - seed})) for seed in (0, 1)]
    assert named(*configs) == [
        "three B=8 η=0.1 mean dataset.load.seed=7 seed=0", "three B=8 η=0.1 mean dataset.load.seed=6 seed=1",
    ]  # fmt: skip


def test_digests_are_named_only_where_nothing_else_tells_cells_apart():
    values = decisive_values(configured(), N_TRAIN)
    cells = [{**values, "code": "new", "data": "d"}, {**values, "code": "old", "data": "d"}]
    assert labels(cells) == ["three B=8 η=0.1 mean code=new", "three B=8 η=0.1 mean code=old"]
    cells[1] |= {"seed": 1}
    assert labels(cells) == ["three B=8 η=0.1 mean seed=0", "three B=8 η=0.1 mean seed=1"]


def test_a_sweep_is_named_by_what_it_varies():
    values = [
        decisive_values(configured(batch_size=B, model_hidden=hidden), N_TRAIN)
        for B in (1, 64, "full")
        for hidden in ([64, 32], [16])
    ]
    assert sweep_label(values) == "three batch_size=1,64,1437 hidden=[64,32],[16]"
    assert sweep_label(values, "noise (small)") == "noise (small): three"


def test_where_words_cannot_tell_cells_apart_their_whole_values_do():
    """An argument that is null, and one that is not given."""
    values = decisive_values(configured(), N_TRAIN)
    found = labels([{**values, "dataset.load.n": None}, values])
    assert len(set(found)) == 2
    assert all('"batch_size":8' in name for name in found)
