"""Caps on what a stranger's file may make us allocate, checked before anything is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds per file and per series; the defaults pass every clinical object that we know of."""

    file_bytes: int = 4 * 1024**3
    """Of a file as it lies on disk or in an archive."""
    pixels_per_frame: int = 256 * 1024**2
    """Rows x columns."""
    frames: int = 20_000
    decoded_bytes: int = 4 * 1024**3
    """Of all frames of a file, decoded."""
    expansion: int = 1_000
    """Decoded bytes per stored byte of a compressed file or archive member: more is a bomb."""
    files: int = 1_000_000
    """In one folder or archive."""
    elements: int = 200_000
    """Data elements of one file, nested ones included."""
    depth: int = 16
    """Of nested sequences and of archives in folders."""


LIMITS = Limits()
