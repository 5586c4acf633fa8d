"""Files of /sys and /proc below a root that is given: small text, or nothing where it cannot be read."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 65536


def text(path: Path) -> str | None:
    """What the file says, without white space around it; None where it is not there, is too long, or gives an error.

    A sensor that is switched off gives an error when it is read (EAGAIN of a Jetson's thermal zones), though it is there.
    """
    try:
        with path.open("rb") as opened:
            raw = opened.read(MOST_BYTES + 1)
    except OSError:
        return None
    return None if len(raw) > MOST_BYTES else raw.decode("utf-8", "replace").strip("\x00 \t\n")


def number(path: Path) -> float | None:
    """The whole number at the start of the file; None where there is none."""
    words = (text(path) or "").split()
    try:
        return float(int(words[0])) if words else None
    except ValueError:
        return None


def first_number(*paths: Path) -> float | None:
    """That of the first file that has one."""
    return next((value for path in paths if (value := number(path)) is not None), None)


def below(folder: Path, pattern: str) -> list[Path]:
    """What matches in a folder, by name; none where it cannot be listed."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
