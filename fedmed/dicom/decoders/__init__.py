"""Decoders of pixels, one file per back end."""
