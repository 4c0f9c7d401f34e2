"""Masked autoencoders from five parts: mask sampler, encoder, decoder, target, loss."""
