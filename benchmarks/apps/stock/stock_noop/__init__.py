"""A no-op app for stock Flower, as `flwr run` installs it."""
