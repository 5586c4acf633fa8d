"""What lines must carry, and how long it takes them."""

from __future__ import annotations

import math

from fedmed.config.topology import Line

LOADED = 0.8
"""Share of a line's rate that is planned with; the rest is for bursts and everything else."""
SEGMENT = 1460
"""Bytes of data in a TCP segment over Ethernet."""
MONTH_S = 30 * 86_400.0


def bandwidth(nodes: int, size: float, times: float, seconds: float) -> float:
    """Bytes a second of a line that all of them share: nodes x size x times / (seconds x 0.8).

    Each of `nodes` moves `size` bytes so many `times` within `seconds`. Raises ValueError where there is no time.
    """
    if seconds <= 0:
        raise ValueError(f"got {seconds:g} s to move {size:g} bytes in; allowed: more than none")
    return nodes * size * times / (seconds * LOADED)


def rate(stated: float, line: Line) -> float:
    """Bytes a second of one connection: what the line has, or what loss leaves of it, whichever is less.

    Mathis et al. 1997, equation 3: rate <= (MSS / RTT) x sqrt(3/2) / sqrt(loss).
    """
    trip = 2 * line.latency
    if not line.loss or not trip:
        return stated
    return min(stated, SEGMENT / trip * math.sqrt(1.5 / line.loss))


def down_s(size: float, line: Line) -> float:
    """Seconds until a message of `size` bytes is there, towards whom the line belongs to."""
    return line.latency + size / rate(line.down, line)


def up_s(size: float, line: Line) -> float:
    """Seconds until a message of `size` bytes is away from whom the line belongs to."""
    return line.latency + size / rate(line.up, line)


def days_of_cap(line: Line, bytes_a_day: float) -> float:
    """Days of each 30 on which the line still carries something; 30 where nothing is capped."""
    if line.cap is None or bytes_a_day <= 0:
        return 30.0
    return min(30.0, line.cap / bytes_a_day)


def sent(parameters: float, bits: int, shrinks: float = 1.0) -> float:
    """Bytes of an update of so many numbers of `bits`.

    General compression is no part of it: zstd at level 3 makes float32 weights 1.08 times smaller, 1.17 where bytes are
    regrouped, not three times. What makes an update smaller is fewer bits, or fewer numbers (`shrinks`).
    """
    return parameters * bits / 8 / shrinks
