"""What federation and clinic agree on. Pure: two verified views in, what a device may do out.

A release counts only where both name the same manifest, by length and digest (TUF, TAP 4: an entry of two repositories that
must agree). It has come as far as the one lets it that lets it less far. Neither alone can put anything on a device.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.errors import ReleaseRefused
from fedmed.releases.channel import Release, State
from fedmed.releases.trusting import View


@dataclass(frozen=True)
class Anchor:
    """How far a device has come; kept apart from its slots, so that it survives whatever becomes of them."""

    counter: int = 0
    """The highest release that was ever committed here."""
    federation: tuple[int, int] = (0, 0)
    """Versions of the newest root and of the newest channel that were seen."""
    clinic: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Agreement:
    """What a device may run, of two verified channels."""

    active: Release | None = None
    """The newest that both let become active."""
    shadow: Release | None = None
    """A newer one that both let run beside it."""
    standing: frozenset[int] = frozenset()
    """Counters of all that both let be active now: what may be returned to."""
    ended: frozenset[int] = frozenset()
    """Counters of those that one of them has rolled back."""
    unsigned: frozenset[int] = frozenset()
    """Counters of those that the federation offers and the clinic has not countersigned."""


def agreed(federation: View, clinic: View) -> Agreement:
    """What both say. Of two manifests under one counter neither counts."""
    theirs = {one.counter: one for one in clinic.channel.releases}
    reached: dict[int, State] = {}
    for one in federation.channel.releases:
        word = theirs.get(one.counter)
        if word is not None and (word.manifest, word.length) == (one.manifest, one.length):
            reached[one.counter] = min(one.state, word.state, key=lambda state: state.rank)
    by_counter = {one.counter: one for one in federation.channel.releases}
    both = [*federation.channel.releases, *clinic.channel.releases]
    ended = frozenset(one.counter for one in both if one.state is State.ROLLED_BACK)
    standing = frozenset(counter for counter, state in reached.items() if state is State.ACTIVE) - ended
    active = by_counter[max(standing)] if standing else None
    beside = [counter for counter, state in reached.items() if state is State.SHADOW and counter > max(standing, default=0)]
    offered = {one.counter for one in federation.channel.releases if one.state.rank > State.CANDIDATE.rank}
    return Agreement(active, by_counter[max(beside)] if beside else None, standing, ended, frozenset(offered - set(reached)))


def require_newer(anchor: Anchor, federation: View, clinic: View) -> Anchor:
    """The anchor with these views. Raises ReleaseRefused where either is older than what was once seen here.

    It is asked although TUF's own memory says the same: that memory lies beside the slots, and goes with them when a box is
    set up anew. A newer root begins the channel's versions anew, which is how a stolen key's high version is got rid of.
    """
    for name, seen, view in (("federation", anchor.federation, federation), ("clinic", anchor.clinic, clinic)):
        if (view.root, view.version) < seen:
            raise ReleaseRefused(
                f"the {name}'s channel is of root {view.root}, version {view.version}, and of root {seen[0]}, version "
                f"{seen[1]} one was seen here before; nothing was changed: an older one is somebody's replay"
            )
    return Anchor(anchor.counter, (federation.root, federation.version), (clinic.root, clinic.version))


def may_install(anchor: Anchor, agreement: Agreement, counter: int) -> bool:
    """Whether a release may be put into a slot: none older than what ran here, but where all newer ones that ran were ended.

    An ended release is named as ended in the newest channel, so this opens no way to replay.
    """
    return counter >= anchor.counter or anchor.counter in agreement.ended
