"""The equations, in NumPy and nothing else: activations, losses, the multi-layer perceptron, sum or mean, optimisers.

Gradients come out summed over the examples of a batch; `reduction` is the one place where a sum becomes a mean, and
`Engine.make_updates` the one where gradient, reduction and step make an update. Imports no other room.
"""

from harness.network.activations import ACTIVATIONS, Activation, inplace_sigmoid
from harness.network.engine import Engine, PerExample, Rows, Set, Vectorized, cut, gather, inplace_update
from harness.network.evaluation import PIECE, balanced_accuracy, baseline, evaluate, score
from harness.network.extensions import FOLDER, NAME, ExtensionError, Table, in_a_line, raised_by
from harness.network.losses import LOSSES, Loss
from harness.network.memory import Memory
from harness.network.mlp import MLP
from harness.network.optimizers import HYPERPARAMETERS, OPTIMIZERS, SGD, Adam, Momentum, Nesterov, Optimizer, RMSProp
from harness.network.parameters import INITIALIZERS, Array, Indices, Parameters
from harness.network.reduction import REDUCTIONS, inplace_reduce
from harness.network.schedules import ENDING, SCHEDULES, Moments
