"""What a round takes from the mains."""

from __future__ import annotations

from fedmed.twin.profiles import Profile

JOULES_A_KWH = 3.6e6


def joules(profile: Profile, busy_s: float, whole_s: float) -> float:
    """Of a machine that works `busy_s` of `whole_s` and waits for the rest."""
    return profile.power * busy_s + profile.idle * max(0.0, whole_s - busy_s)
