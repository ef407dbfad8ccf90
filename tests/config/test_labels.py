"""What cells are called: two cells of one sweep never share a name, and no name says what another word implies."""

from dataclasses import replace

from harness.config.labels import cell_label, varied_keys
from harness.config.schema import OptimizerConfig
from tests.training.test_cell import configured

SGD = OptimizerConfig("sgd", 0.0, None)
ADAM = OptimizerConfig("adam", 0.0, None, beta1=0.9, beta2=0.999, epsilon=1e-8)


def labels(*optimizers: OptimizerConfig) -> list[str]:
    configs = [replace(configured(), optimizer=optimizer) for optimizer in optimizers]
    varied = varied_keys(configs)
    return [cell_label(config, varied).removeprefix("three B=8 η=0.1 mean").strip() for config in configs]


def test_the_name_of_a_rule_stands_for_what_it_brings_along():
    assert labels(SGD, ADAM) == ["optimizer=sgd", "optimizer=adam"]


def test_what_varies_within_a_rule_is_named_beside_it():
    decayed = replace(SGD, weight_decay=0.05)
    assert labels(SGD, decayed, replace(ADAM, weight_decay=0.05)) == [
        "optimizer=sgd weight_decay=0", "optimizer=sgd weight_decay=0.05", "optimizer=adam weight_decay=0.05",
    ]  # fmt: skip


def test_what_a_cell_does_not_have_is_not_named():
    small = replace(ADAM, epsilon=1e-3)
    assert labels(SGD, ADAM, small) == ["optimizer=sgd", "optimizer=adam epsilon=1e-08", "optimizer=adam epsilon=0.001"]


def names_of_datasets(*named: tuple[str, int]) -> list[str]:
    base = configured()
    configs = [replace(base, dataset=replace(base.dataset, name=name, load={"n": n})) for name, n in named]
    return [cell_label(config, varied_keys(configs)) for config in configs]


def test_a_dataset_stands_for_its_arguments():
    assert names_of_datasets(("a", 3), ("b", 5)) == ["a B=8 η=0.1 mean", "b B=8 η=0.1 mean"]


def test_arguments_that_differ_within_a_dataset_are_said():
    """Or two cells would have one name."""
    found = names_of_datasets(("a", 3), ("a", 5), ("b", 5))
    assert found == ["a B=8 η=0.1 mean n=3", "a B=8 η=0.1 mean n=5", "b B=8 η=0.1 mean n=5"]
