"""How far two versions of fedmed may lie apart: one minor either way. Each side updates when it can, not all in one night.

There is one number, that of fedmed; major and minor are the protocol's. A side that names none is of the first version,
which did not know this rule.
"""

from __future__ import annotations

import re

from fedmed.errors import VersionRefused

HEADER, FIRST = "fedmed-version", "0.1"
"""Of each call between center and clinic, both ways."""
MOST_TEXT = 40
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})(?![0-9])[0-9A-Za-z.+-]{0,30}")


def refuse_far(own: str, other: str, who: str) -> None:
    """Raise VersionRefused where `who` has a version from which it is more than a minor to this side's."""
    mine, theirs = _minor(own), _minor(other)
    if theirs is None or mine is None:
        raise VersionRefused(f"{who} names its version {other[:MOST_TEXT]!r}; a version is MAJOR.MINOR and more")
    if mine[0] == theirs[0] and abs(mine[1] - theirs[1]) <= 1:
        return
    older = who if theirs < mine else "the other side"
    raise VersionRefused(
        f"{who} runs fedmed {other}, the other side {own}; allowed is one minor version between the two: update {older}"
    )


def _minor(text: str) -> tuple[int, int] | None:
    found = _VERSION.fullmatch(text)
    return None if found is None else (int(found[1]), int(found[2]))
