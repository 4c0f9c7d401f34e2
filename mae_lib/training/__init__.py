"""One training step (eager, inductor or XLA), the pretraining loop, and checkpoints."""
