"""The center's role: a Flower ServerApp over the library."""
