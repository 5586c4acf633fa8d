"""The offer of a run that is to be approved: there, or waited for."""

from __future__ import annotations

from fedmed.cli.asking import Line
from fedmed.clinic import offers
from fedmed.clinic.dialing import Line as Way
from fedmed.clock import Clock
from fedmed.errors import Unreachable
from fedmed.identity.proposal import Offered

FIRST_PAUSE_S, MOST_PAUSE_S = 1.0, 10.0


def offer(way: Way, run: str, wait: bool, clock: Clock) -> Offered:
    """What the center offers under a run's name; with `wait`, once it does. Raises as `offers.listed` and `the_one`."""
    shown, since, pause = Line(), clock.now(), FIRST_PAUSE_S
    try:
        while True:
            try:
                found = offers.listed(way)
                if not wait or found.named(run):
                    return found.the_one(run)
                trouble = "; ".join(found.faults) or f"it offers {found.there} now"
            except Unreachable as error:
                if not wait:
                    raise
                trouble = f"{error}"
            minutes = int(clock.now() - since) // 60
            shown.show(f"waiting for the center to ask for {run}, {minutes} min (Ctrl-C ends it): {trouble}", trouble)
            clock.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE_S)
    finally:
        shown.end()
