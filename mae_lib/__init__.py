"""Masked autoencoders, their evaluation protocols and the latent-variable theory behind them.

Import the room you need: ``mae_lib.data``, ``mae_lib.models``, ``mae_lib.training``,
``mae_lib.evaluation``, ``mae_lib.ledger``. Nothing heavy is imported here.
"""

__version__ = "0.1.0"
