"""An experiment-tracking harness that settles questions about batch size, learning rate and reduction with evidence.

`train` trains one cell, `sweep` a grid of them, `load` reads a sweep from the store; `MLP` and its optimisers are the
mathematics in NumPy. What is more than NumPy is imported when it is used first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.config import ConfigError
from harness.network import MLP, SGD, Adam, Momentum, Nesterov, Parameters, RMSProp, inplace_reduce

if TYPE_CHECKING:
    from harness.api import Result, train

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "ConfigError",
    "Momentum",
    "Nesterov",
    "Parameters",
    "RMSProp",
    "Result",
    "inplace_reduce",
    "train",
]

_LATER = ("Result", "train")  # of harness.api, imported at their first use


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module("harness.api"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
