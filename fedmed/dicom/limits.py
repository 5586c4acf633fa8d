"""Caps on what a stranger's file may make us allocate, checked before anything is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds per file and per series; the defaults pass every clinical object that we know of."""

    file_bytes: int = 4 * 1024**3
    """Of a file as it lies on disk or in an archive."""
    header_bytes: int = 256 * 1024**2
    """Of what stands before the pixels."""
    pixels_per_frame: int = 256 * 1024**2
    """Rows x columns."""
    frames: int = 20_000
    decoded_bytes: int = 4 * 1024**3
    """Of all frames of a file, decoded."""
    expansion: int = 1_000
    """Decoded bytes per stored byte of a compressed file or archive member: more is a bomb."""
    files: int = 1_000_000
    """In one folder or archive."""
    elements: int = 2_000_000
    """Data elements and items that are walked in one file; enhanced objects have some hundred a frame."""
    depth: int = 16
    """Of nested sequences and of folders in folders."""


LIMITS = Limits()
