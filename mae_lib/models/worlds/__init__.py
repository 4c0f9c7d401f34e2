"""Masked world models (MWM): masks over what a convolutional stem makes of a frame; variants."""
