"""Which precision a device runs a release in: measured here, gated here, watched, and remembered (ADR 0058)."""
