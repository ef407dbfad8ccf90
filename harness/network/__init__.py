"""The equations, in NumPy and nothing else: activations, losses, the multi-layer perceptron, sum or mean, optimisers.

Gradients come out summed over the examples of a batch; `reduction` is the one place where a sum becomes a mean.
Imports no other room.
"""

from harness.network.activations import ACTIVATIONS, inplace_sigmoid
from harness.network.errata import DERIVED, FORMULAS, MISPRINTS, printed
from harness.network.evaluation import PIECE, evaluate, score
from harness.network.losses import LOSSES
from harness.network.mlp import INITIALIZERS, MLP, Buffers, Memory, Parameters
from harness.network.optimizers import OPTIMIZERS, SGD, Adam, Momentum, Nesterov, Optimizer, RMSProp
from harness.network.reduction import REDUCTIONS, inplace_reduce

__all__ = [
    "ACTIVATIONS",
    "DERIVED",
    "FORMULAS",
    "INITIALIZERS",
    "LOSSES",
    "MISPRINTS",
    "MLP",
    "OPTIMIZERS",
    "PIECE",
    "REDUCTIONS",
    "SGD",
    "Adam",
    "Buffers",
    "Memory",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "Parameters",
    "RMSProp",
    "evaluate",
    "inplace_reduce",
    "inplace_sigmoid",
    "printed",
    "score",
]
