"""An experiment-tracking harness that settles questions about batch size, learning rate and reduction with evidence.

`train` trains one cell, `sweep` a grid of cells, `load` reads a sweep from the store. `MLP` and the optimisers are the
mathematics, in NumPy. Each name is imported when it is used first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Result, Sweep, load, sweep, train
    from harness.config import ConfigError
    from harness.network import MLP, SGD, Adam, Momentum, Nesterov, Parameters, RMSProp, inplace_reduce

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
    "Sweep",
    "inplace_reduce",
    "load",
    "sweep",
    "train",
]

_ROOMS = {
    "ConfigError": "config",
    **dict.fromkeys(("Result", "Sweep", "load", "sweep", "train"), "api"),
}  # of the names that `network` does not have


if not TYPE_CHECKING:  # a type checker that saw it would accept every name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'harness' has no attribute {name!r}")
        return getattr(import_module(f"harness.{_ROOMS.get(name, 'network')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
