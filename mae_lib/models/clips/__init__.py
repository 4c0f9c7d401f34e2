"""Masked autoencoders of clips: tubelets, their positions and samplers; pairs of frames."""
