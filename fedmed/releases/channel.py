"""A federation's channel of releases: candidate, shadow, active, rolled back. Pure: each step gives another channel.

Devices run the release with the highest counter that is active. Those active before it stay so in the channel: rolling
back the newest makes the one before it current again, under newer metadata, so that nothing is ever replayed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from fedmed.errors import ConfigError, ReleaseRefused
from fedmed.releases.manifest import LABEL, MOST_COUNTER, Manifest
from fedmed.wire.tensors import sha256

MOST_RELEASES = 32
"""In a channel's metadata; of those that are over, the oldest are left out."""
MOST_WHY = 200


class State(str, Enum):
    """How far a release has come."""

    CANDIDATE = "candidate"
    """Known; on no device."""
    SHADOW = "shadow"
    """Runs beside the active one, and nobody sees its results but the count of disagreements."""
    ACTIVE = "active"
    ROLLED_BACK = "rolled back"
    """For good: the same package may come again under another counter."""

    @property
    def rank(self) -> int:
        """The further, the higher; of two that must agree, the lower holds."""
        return [State.ROLLED_BACK, State.CANDIDATE, State.SHADOW, State.ACTIVE].index(self)


NEXT = {State.CANDIDATE: State.SHADOW, State.SHADOW: State.ACTIVE}


@dataclass(frozen=True)
class Release:
    """One line of a channel."""

    counter: int
    name: str
    version: str
    package: str
    """Digest of the package's files."""
    manifest: str
    """SHA-256 of the manifest."""
    length: int
    """Bytes of the manifest."""
    state: State
    unix: int
    """Since when it is in this state."""
    why: str = ""

    @property
    def path(self) -> str:
        """What TUF calls the manifest."""
        return path_of(self.counter)


@dataclass(frozen=True)
class Channel:
    """All releases, by ascending counter."""

    releases: tuple[Release, ...] = ()

    @property
    def next_counter(self) -> int:
        """That of the next release: the newest is never left out, so this only goes up."""
        return self.releases[-1].counter + 1 if self.releases else 1

    @property
    def active(self) -> Release | None:
        """What devices are to run."""
        return next((one for one in reversed(self.releases) if one.state is State.ACTIVE), None)

    def find(self, counter: int) -> Release:
        """Raises ConfigError where there is none."""
        for one in self.releases:
            if one.counter == counter:
                return one
        known = ", ".join(str(one.counter) for one in self.releases) or "none yet"
        raise ConfigError(f"no release {counter} in the channel; there are: {known}")


def candidate(manifest: Manifest, now: float) -> Release:
    """A new release of this manifest."""
    data = manifest.encoded()
    named = manifest.counter, manifest.name, manifest.version, manifest.package
    return Release(*named, sha256(data), len(data), State.CANDIDATE, int(now))


def proposed(channel: Channel, new: Release) -> Channel:
    """The channel with one candidate more. Raises ConfigError for a counter that is not the next one."""
    if new.counter != channel.next_counter or new.state is not State.CANDIDATE:
        raise ConfigError(f"release {new.counter} cannot be proposed; the next one is {channel.next_counter}, a candidate")
    return Channel(_trimmed((*channel.releases, new)))


def promoted(channel: Channel, counter: int, now: float) -> Channel:
    """The channel with a release one step further. Raises ConfigError for one that goes no further, or would go back."""
    one = channel.find(counter)
    if one.state not in NEXT:
        raise ConfigError(f"release {counter} is {one.state.value} and goes no further; propose its package anew")
    if channel.active is not None and channel.active.counter > counter:
        raise ConfigError(
            f"release {counter} is older than {channel.active.counter}, which is active; propose its package anew, so that "
            "it gets the next counter, or roll the newer one back"
        )
    return _with(channel, replace(one, state=NEXT[one.state], unix=int(now), why=""))


def rolled_back(channel: Channel, counter: int, why: str, now: float) -> Channel:
    """The channel with a release ended. Raises ConfigError for one that is ended already, or without a reason."""
    one = channel.find(counter)
    if one.state is State.ROLLED_BACK:
        raise ConfigError(f"release {counter} is rolled back already")
    if not 1 <= len(why.strip()) <= MOST_WHY:
        raise ConfigError(f"a reason of {len(why.strip())} letters; say why in 1 to {MOST_WHY}, clinics read it")
    return _with(channel, replace(one, state=State.ROLLED_BACK, unix=int(now), why=why.strip()))


def allowed(channel: Channel, theirs: Release, state: State, why: str, now: float) -> Channel:
    """A clinic's own channel with its word on a federation's release: how far it lets it come."""
    mine = replace(theirs, state=state, unix=int(now), why=why.strip()[:MOST_WHY])
    others = tuple(one for one in channel.releases if one.counter != theirs.counter)
    return Channel(_trimmed(tuple(sorted((*others, mine), key=lambda one: one.counter))))


def path_of(counter: int) -> str:
    """What TUF calls a release's manifest."""
    return f"{counter:08d}.json"


def custom(release: Release) -> dict[str, Any]:
    """What metadata says of a release beside the manifest's length and digest."""
    said = {"name": release.name, "release": release.version, "package": release.package, "state": release.state.value}
    return {**said, "unix": release.unix, "why": release.why}


def read_release(path: str, length: int, manifest: str, said: Mapping[str, Any]) -> Release:
    """The release in signed metadata. Raises ReleaseRefused: a signature tells who wrote it, not that it is sane."""
    try:
        state, unix, why, package = State(said["state"]), said["unix"], said["why"], said["package"]
        counter, texts = int(path[:8]), (said["name"], said["release"])
        sane = path == path_of(counter) and 1 <= counter <= MOST_COUNTER and type(unix) is int
        if not sane or not all(LABEL.fullmatch(text) for text in texts) or len(why) > MOST_WHY or len(package) != 64:
            raise ValueError("a line that fedmed does not write")
        return Release(counter, texts[0], texts[1], package, manifest, length, state, unix, why)
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseRefused(f"signed metadata says of {path!r:.40} what cannot be ({error}); tell who signs it") from error


def _with(channel: Channel, changed: Release) -> Channel:
    return Channel(tuple(changed if one.counter == changed.counter else one for one in channel.releases))


def _trimmed(releases: tuple[Release, ...]) -> tuple[Release, ...]:
    """At most so many; the oldest go, but never one that devices may have to return to."""
    keep = {one.counter for one in [one for one in releases if one.state is State.ACTIVE][-2:]} | {releases[-1].counter}
    over = [one.counter for one in releases if one.counter not in keep][: max(0, len(releases) - MOST_RELEASES)]
    return tuple(one for one in releases if one.counter not in over)
