"""What a federation costs over three years, and what comes back over five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOURS = 24.0
MONTH_DAYS, MONTHS = 30.0, 12
KWH = 0.15
"""Price of a kilowatt-hour, in the currency of the file."""
COOLING = 0.3
"""Of what power costs."""
DISCOUNT = 0.10
YEARS_OWNED, YEARS_BACK = 3, 5
YEAR_S = MONTHS * MONTH_DAYS * HOURS * 3600


def month_of_power(watts: float, kwh: float = KWH) -> float:
    """Of so many watts day and night: kW x 24 h x 30 d x price. 80 kW at 0.15 are 8,640, not 8,000."""
    return watts / 1000 * HOURS * MONTH_DAYS * kwh


@dataclass(frozen=True)
class Running:
    """Costs of a year."""

    power: float
    cooling: float
    network: float = 0.0
    backup: float = 0.0
    staff: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.power + self.cooling + self.network + self.backup + self.staff


def of_run(kwh: float, bought: float, seconds: float, price: float = KWH) -> float:
    """What a run costs: its power, the cooling of it, and of what its machines were `bought` for the share of the three
    years in which they are worn out."""
    return kwh * price * (1 + COOLING) + bought * seconds / (YEARS_OWNED * YEAR_S)


def running(watts: float, network: float = 0.0, backup: float = 0.0, staff: float = 0.0, kwh: float = KWH) -> Running:
    """A year of machines that take `watts` on average, cooled at 30 % of their power."""
    power = MONTHS * month_of_power(watts, kwh)
    return Running(power, COOLING * power, network, backup, staff)


def owned(machines: float, yearly: float, years: int = YEARS_OWNED) -> float:
    """Cost of ownership: the machines once, and each year what it costs to run them."""
    return machines + years * yearly


def grown(first: float, growth: float, years: int = YEARS_BACK) -> tuple[float, ...]:
    """What comes in each year where it grows by a share of itself."""
    return tuple(first * (1 + growth) ** year for year in range(years))


def present(invested: float, comes: Sequence[float], discount: float = DISCOUNT) -> float:
    """Net present value: -invested + sum of comes[k] / (1 + discount)^(k + 1), each at the end of its year."""
    if discount <= -1:
        raise ValueError(f"got a discount of {discount:g}; allowed: more than -1")
    return -invested + sum(each / (1 + discount) ** (year + 1) for year, each in enumerate(comes))


def paid_back(invested: float, comes: Sequence[float]) -> float | None:
    """Years, not discounted, until what came is what was invested, evenly within a year; None where it never is."""
    left = invested
    for year, each in enumerate(comes):
        if left <= 0:
            return float(year)
        if each >= left:
            return year + left / each
        left -= each
    return float(len(comes)) if left <= 0 else None


def returned(invested: float, comes: Sequence[float]) -> float:
    """Return on investment in parts of what was invested: (sum of comes - invested) / invested."""
    if invested <= 0:
        raise ValueError(f"got {invested:g} invested; allowed: more than none")
    return (sum(comes) - invested) / invested
