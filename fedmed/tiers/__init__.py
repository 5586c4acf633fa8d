"""Tiered aggregation: devices' updates summed at their clinic, the clinic's folded into one for the center."""
