"""Signed releases of models: proposed, countersigned, tried, active, rolled back (TUF)."""
