"""Picture files, decoded when they are asked for: the way in, the views, the sets."""
