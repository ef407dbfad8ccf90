"""Signatures differ when the numbers must, and only then."""

import ast
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from configs import configured

from harness.config import Config, DatasetConfig, ModelConfig, OptimizerConfig
from harness.training import identity
from harness.training.identity import code_digest, decisive_values, numeric_files, signature

CONFIG = replace(
    configured(diagnostics="cheap", learning_rate_rule="linear", learning_rate_schedule="step", milestones=[1]),
    dataset=DatasetConfig("digits", "classification", {"_target_": "f", "a": 1, "b": 2}, 0.2, 0.2, False),
)
CHANGES = {
    "batch_size": "full", "learning_rate": 0.2, "reduction": "sum", "learning_rate_rule": "sqrt", "epochs": 4,
    "learning_rate_schedule": "linear", "warm_up_epochs": 1, "batch_size_schedule": "step", "milestones": [2],
    "milestone_factor": 2, "reference_batch_size": 2, "updates": 7, "train_seconds": 1.0, "target": 0.1,
    "target_on": "validation", "order": "once", "last_batch": "drop", "seeds": 3, "first_replica": 1, "seed": 1,
    "dtype": "float32", "engine": "per_example", "threads": 2, "diagnostics": "full",
    "model": ModelConfig([32, 32], "tanh", "glorot_normal"),
    "optimizer": OptimizerConfig("sgd", 0.1, None),
    "dataset": DatasetConfig("digits", "classification", {"_target_": "f", "a": 1, "b": 3}, 0.2, 0.2, False),
}  # fmt: skip
N = 100


def sign(config: Config, data: str = "d", n_train: int = N) -> str:
    return signature(decisive_values(config, n_train), data)


def test_a_signature_is_sixteen_digits():
    assert len(sign(CONFIG)) == 16
    assert int(sign(CONFIG), 16) >= 0


def test_every_key_is_either_decisive_or_without_effect():
    assert set(asdict(CONFIG)) - set(CHANGES) <= set(identity.WITHOUT_EFFECT)


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_that_matters_changes_the_signature(key):
    assert sign(replace(CONFIG, **{key: CHANGES[key]})) != sign(CONFIG)


def test_signatures_of_all_changes_differ():
    changed = [sign(replace(CONFIG, **{key: value})) for key, value in CHANGES.items()]
    assert len(set(changed)) == len(CHANGES)


def test_other_data_changes_the_signature():
    assert sign(CONFIG, "e") != sign(CONFIG)


SAME = {
    "the whole set": [{"batch_size": "full"}, {"batch_size": N}, {"batch_size": N + 1}, {"batch_size": 10 * N}],
    "a rate and a rule": [
        {"learning_rate": 0.2, "learning_rate_rule": "constant"},
        {"learning_rate": 0.2, "reference_batch_size": 8},
        {"learning_rate": 1.6},
        {"learning_rate": 0.1, "reference_batch_size": 4},
    ],
    "no rule, no reference": [
        {"learning_rate_rule": "constant"}, {"learning_rate_rule": "constant", "reference_batch_size": 2},
    ],
    "no step, no milestones": [
        {"learning_rate_schedule": "cosine"},
        {"learning_rate_schedule": "cosine", "milestones": [], "milestone_factor": 3},
    ],
}  # fmt: skip


@pytest.mark.parametrize("ways", SAME.values(), ids=SAME)
def test_two_ways_of_asking_for_one_thing_share_a_signature(ways):
    assert len({sign(replace(CONFIG, **way)) for way in ways}) == 1


def test_a_rule_is_decisive_where_the_batch_size_grows():
    """At the first batch size both rates are 0.1; later they are not."""
    grows = replace(CONFIG, batch_size_schedule="step", batch_size=64)
    one, other = (replace(grows, learning_rate_rule=rule) for rule in ("constant", "linear"))
    assert decisive_values(one, N)["learning_rate"] == decisive_values(other, N)["learning_rate"]
    assert sign(one) != sign(other)
    assert sign(replace(one, batch_size_schedule="constant")) == sign(replace(other, batch_size_schedule="constant"))


@dataclass
class Asked(Config):
    """With the keys that say how a command is run, whatever the schema calls their defaults."""

    rerun: str = "missing"
    dry_run: bool = False


@pytest.mark.parametrize("change", [{"study": {"name": "x"}}, {"rerun": "all"}, {"dry_run": True}])
def test_keys_without_effect_do_not_change_the_signature(change):
    asked = Asked(**{key: getattr(CONFIG, key) for key in CHANGES})
    assert sign(asked) == sign(CONFIG)
    assert sign(replace(asked, **change)) == sign(CONFIG)


def test_the_order_of_keys_does_not_change_the_signature():
    dataset = replace(CONFIG.dataset, load=dict(reversed(CONFIG.dataset.load.items())))
    assert sign(replace(CONFIG, dataset=dataset)) == sign(CONFIG)


def test_code_changes_the_signature_but_not_in_a_running_process(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    for room in identity.ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "one.py").write_text(room)
    first, digest = sign(CONFIG), code_digest()
    (tmp_path / "network" / "one.py").write_text("edited")
    assert (sign(CONFIG), code_digest()) == (first, digest)
    identity._code_digest.cache_clear()  # as in a process that starts now
    assert sign(CONFIG) != first


@pytest.mark.parametrize("name", identity.NO_NUMBERS)
def test_names_for_people_do_not_change_the_signature(tmp_path, monkeypatch, name):
    (tmp_path / name).parent.mkdir()
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    first = sign(CONFIG)
    (tmp_path / name).write_text("edited")
    identity._code_digest.cache_clear()
    assert sign(CONFIG) == first


def test_every_module_between_the_configuration_and_the_tables_is_in_the_digest():
    """Whatever the modules that make a cell's tables import, directly or not, is one of the numeric files."""
    package = Path(identity.__file__).parents[1]
    numeric = set(numeric_files(package))
    reached: set[Path] = set()
    todo = [package / "training" / f"{name}.py" for name in ("cell", "tables", "loop")]
    while todo:
        module = todo.pop()
        reached.add(module)
        tree = ast.parse(module.read_text(encoding="utf8"))
        sources = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        names = [f"{node.module}.{alias.name}" for node in sources for alias in node.names]
        for name in [*names, *(node.module for node in sources)]:
            place = package.parent / name.replace(".", "/")
            todo += [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.exists() and p not in reached]
    names_for_people = {package / name for name in identity.NO_NUMBERS} | {package / "__init__.py"}
    assert reached - names_for_people <= numeric
    assert {path.parent.name for path in reached - names_for_people} >= {"network", "config", "data", "training"}
