"""What SQLite does for a cell does not depend on how many cells there are; counted in steps of its virtual machine."""

import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag
from mlflow.tracking import MlflowClient

from harness.store.direct import Direct
from harness.store.tagged import Tagged

INPUTS = [DatasetInput(Dataset("iris", "d", "code", "s", "{}", "{}"), [InputTag("mlflow.data.context", "training")])]


class Steps:
    """Counts for every connection that is opened."""

    n = 0

    def __call__(self):
        self.n += 1
        return 0


@pytest.fixture
def steps(monkeypatch):
    from harness.store import rows

    steps, init = Steps(), rows._Connection.__init__

    def counted(connection, *given, **named):
        init(connection, *given, **named)
        connection.set_progress_handler(steps, 1)

    monkeypatch.setattr(rows._Connection, "__init__", counted)
    return steps


@pytest.mark.slow
def test_a_cell_costs_the_same_beside_many_as_beside_few(tmp_path, steps):
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("here", f"{tmp_path}/runs")
    direct, tagged = (kind.of(f"sqlite:///{tmp_path}/mlflow.db") for kind in (Direct, Tagged))

    def add(number):
        before = steps.n
        run_id, _, _ = direct.create(experiment, f"cell {number}", 0, {"signature": str(number)})
        assert tagged.ids("signature", str(number)) == {run_id}
        points = [Metric("cost", 1.0, 0, step) for step in range(5)]
        assert direct.log(run_id, points, [], [RunTag("outcome", "completed")], INPUTS)
        assert direct.end(run_id, "FINISHED", 1)
        return steps.n - before

    taken = [add(number) for number in range(300)]
    early, late = sum(taken[10:30]), sum(taken[-20:])
    assert late < 1.2 * early
    assert early > 20 * 100  # steps are counted
