"""The clinic's role: a Flower ClientApp over the library."""
