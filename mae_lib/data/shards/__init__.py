"""Training images in tar files that are read one after the other."""
