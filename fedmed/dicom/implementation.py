"""Who writes: what stands in associations and in the file meta information of files that fedmed makes (PS3.7 D.3.3.2)."""

from __future__ import annotations

IMPLEMENTATION_UID = "2.25.302710849921473015226134520497083115477"
"""Drawn once at random (PS3.5 B.2)."""
IMPLEMENTATION_NAME = "FEDMED"
