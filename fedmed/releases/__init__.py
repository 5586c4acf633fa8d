"""Releases of models: signed by the federation, countersigned by the clinic, taken by devices into two slots."""
