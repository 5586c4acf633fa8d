"""Configuration: frozen, bounded, every fault reported at once with its line."""
