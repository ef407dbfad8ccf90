"""Names of cells: what differs is said, what follows from a name that is said already is not."""

from dataclasses import replace

from test_cell import configured

from harness.labels import cell_label, varied_keys


def dataset(name, **load):
    return replace(configured(), dataset=replace(configured().dataset, name=name, load=load))


def labels(*configs):
    return [cell_label(config, varied_keys(configs)) for config in configs]


def test_a_dataset_stands_for_its_arguments():
    assert labels(dataset("a", n=3), dataset("b", n=5)) == ["a B=8 η=0.1 mean", "b B=8 η=0.1 mean"]


def test_arguments_that_differ_within_a_dataset_are_said():
    """Or two cells would have one name."""
    found = labels(dataset("a", n=3), dataset("a", n=5), dataset("b", n=5))
    assert found == ["a B=8 η=0.1 mean n=3", "a B=8 η=0.1 mean n=5", "b B=8 η=0.1 mean n=5"]
