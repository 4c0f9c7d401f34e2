"""What the papers say, in numbers and in words, and the statistics that judge it."""
