"""Hierarchies of latent variables: which of them a mask lets a masked autoencoder learn."""
