"""Numbers and lists as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fedmed.wire.words import count as count

DASH = "–"
TIMES = (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))
RATES = (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3), ("bit/s", 1.0))
VISIBLE = 0.002
"""Error of a measure from which on it is shown."""


def score(value: float | None) -> str:
    """A measure in 0..1, three decimals; a dash where it is undefined."""
    return DASH if value is None else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """`0.851–0.940`, or nothing."""
    return "" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def within(error: float | None) -> str:
    """` ± 0.014`, or nothing where it would not be seen in three decimals."""
    return "" if error is None or error < VISIBLE else f" ± {error:.3f}"


def signed(value: float) -> str:
    """`+0.041` or `−0.012`, with a true minus."""
    text = f"{abs(value):.3f}"
    return f"{'−' if value < 0 and float(text) else '+'}{text}"


def duration(seconds: float | None) -> str:
    """`4.0 ms`, `0.82 s`, `12.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return DASH
    if 0 < seconds < 0.01:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def data_size(size: float) -> str:
    """Decimal units: `640 B`, `12.5 kB`, `3.2 MB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}" if size < 1000 * scale else f"{size / scale:,.0f} {unit}"
    return f"{size:.0f} B"


def energy(kwh: float) -> str:
    """`74.4 mWh`, `0.25 Wh`, `12.5 kWh`, `12,300 kWh`."""
    if kwh >= 1000:
        return f"{kwh:,.0f} kWh"
    if kwh >= 0.01 or kwh == 0:
        return f"{kwh:.3g} kWh"
    return f"{1e3 * kwh:.3g} Wh" if kwh >= 1e-4 else f"{1e6 * kwh:.3g} mWh"


def cost(dollars: float) -> str:
    """`1,234.50 USD`; what is less than half a cent but not nothing is `under 0.01 USD`."""
    return "under 0.01 USD" if 0 < dollars < 0.005 else f"{dollars:,.2f} USD"


def scaled(units: Sequence[tuple[str, float]], most: float) -> tuple[str, float]:
    """The largest of the units (`TIMES`, `SIZES`, `RATES`) that there are two of, and how many smallest ones it is."""
    return next((each for each in units if most >= 2 * each[1]), units[-1])


def kind_of(reason: str) -> str:
    """A reason without what was measured in its round, so that those of many rounds can be counted together."""
    return re.sub(r" (for|of) \d[^,:]*", "", _without_brackets(reason))


def _without_brackets(text: str) -> str:
    depth, kept = 0, list[str]()
    for letter in text:
        depth += letter == "("
        if depth == 0:
            kept.append(letter)
        depth -= letter == ")" and depth > 0
    return "".join(kept).replace(" :", ":").replace("  ", " ").rstrip()


def listed(words: Sequence[str], most: int = 6) -> str:
    """`a, b and c`; beyond `most`, `a, b and 12 more`."""
    if len(words) > most:
        return f"{', '.join(words[: most - 1])} and {len(words) - most + 1} more"
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def ranges(numbers: Sequence[int]) -> str:
    """`3, 7–9` for 3, 7, 8, 9."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{low}" if low == high else f"{low}–{high}" for low, high in runs)
