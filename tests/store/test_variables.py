"""What MLflow says about its own variables is told with their names."""

import pytest

from harness.config import ConfigError
from harness.store import opening


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MLFLOW_LOGGING_LEVEL", "xyz", "Unknown level: 'XYZ'"),
        ("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "abc", "Failed to convert 'abc' for MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"),
        ("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "abc", "Invalid poolclass parameter: abc. Set environment variable"),
        ("MLFLOW_TRACKING_URI", "sqlite:///x.db", "some other reason"),
    ],
)
def test_the_variable_that_mlflow_complains_about_is_the_key(name, value, said, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught, opening.refusing_to_open("sqlite:///x.db"):
        raise ValueError(said)
    assert caught.value.key == name
    assert said in str(caught.value)


def test_a_warning_that_became_an_error_names_its_filter():
    with pytest.raises(ConfigError, match=r"^PYTHONWARNINGS: expected unset"), opening.refusing_to_open("sqlite:///x"):
        raise DeprecationWarning("old")


def test_too_little_memory_is_no_matter_of_the_store():
    with pytest.raises(MemoryError), opening.refusing_to_open("sqlite:///x.db"):
        raise MemoryError
