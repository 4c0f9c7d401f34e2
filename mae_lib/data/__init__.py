"""Images in [0, 1] with labels: the procedural Menagerie, Fashion-MNIST, and checks on both."""
