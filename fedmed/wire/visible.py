"""Text from elsewhere as it may be shown: what steers a terminal, or turns the order of letters round, is spelled out."""

from __future__ import annotations

import unicodedata

_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str) -> str:
    r"""`text` with control and format characters, lone surrogates and line breaks as `\x1b`, `\u202e`, `\n`."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii") if unicodedata.category(letter) in _UNSHOWN else letter
        for letter in text
    )
