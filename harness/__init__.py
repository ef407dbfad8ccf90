"""An experiment-tracking harness that settles questions about batch size, learning rate and reduction with evidence."""

__version__ = "0.1.0"
