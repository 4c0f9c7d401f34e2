"""Protocols that measure a trained model: reconstruction, probes, and the records they return."""
