"""A clinic and its federation's releases: fetched over its own line, countersigned by its approvers, kept for its devices.

releases/federation   the copy of the federation's channel     releases/own   what this clinic signs, as an authority
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.clinic.dialing import Line
from fedmed.clinic.folder import ClinicFolder
from fedmed.errors import ReleaseRefused, Unreachable
from fedmed.releases.agreeing import Agreement, agreed
from fedmed.releases.channel import Release, State
from fedmed.releases.fetching import COUNTERSIGNED, Fetcher, FolderFetcher
from fedmed.releases.mirror import Mirror
from fedmed.releases.opening import is_begun, repository
from fedmed.releases.trusting import View, pinned, refresh
from fedmed.store.audit.event import Event, event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedmed.releases.pruning import Surplus
    from fedmed.releases.repository import Repository
    from fedmed.releases.signing import SigningKey

PATH, FOLDER = "/fedmed/releases", "releases"
FEDERATION, OWN = "federation", "own"
"""Folders in it: what devices are served of each authority."""
PRUNES_S = 3600.0


class LineFetcher:
    """The center's releases over a member's line, piece by piece."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        """See `Fetcher`. Raises JoinRefused where the center refused, too."""
        first, size = self._ask(name, offset)
        return None if size is None else self._all(name, first, offset, size)

    def _all(self, name: str, piece: bytes, offset: int, size: int) -> Iterator[bytes]:
        while piece:
            yield piece
            offset += len(piece)
            if offset >= size:
                return
            piece, _ = self._ask(name, offset)

    def _ask(self, name: str, offset: int) -> tuple[bytes, int | None]:
        _, said = self._line.ask("GET", f"{PATH}?name={name}&offset={offset}")
        size, piece = said.get("size"), said.get("piece", "")
        try:
            if size is None or (type(size) is int and isinstance(piece, str)):
                return base64.b64decode(piece, validate=True), size
        except ValueError:
            pass
        raise Unreachable(f"the center answered for {name} with something that is no piece of a file; tell its operator")


@dataclass(frozen=True)
class ClinicReleases:
    """Both channels of one clinic."""

    mirror: Mirror
    own: Repository
    center: Fetcher

    def begin(self, root: SigningKey, approvers: Sequence[bytes], threshold: int, fingerprint: str) -> None:
        """Pin the federation's root, begin this clinic's own channel. Raises ConfigError, ReleaseRefused, Unreachable."""
        self.mirror.pin(self.center, fingerprint)
        self.own.begin([root], (1, threshold), approvers)

    def tend(self) -> View:
        """Bring the copy up to date, and this clinic's own dates: day by day, also while nobody approves anything.

        Raises ReleaseRefused, Unreachable, StoreError; the dates are renewed all the same.
        """
        if self.own.is_begun:
            self.own.freshen()
        return self.mirror.update(self.center)

    def countersign(self, counter: int, state: State, why: str, approvers: Sequence[SigningKey]) -> Release:
        """This clinic's word on a release; its files are here and whole before it is let come.

        Raises ConfigError for one that is not there, ReleaseRefused for one that the federation rolled back, Unreachable.
        """
        release = self.tend().channel.find(counter)
        if state is not State.ROLLED_BACK:
            if release.state is State.ROLLED_BACK:
                raise ReleaseRefused(f"release {counter} was rolled back by the center: {release.why}")
            self.mirror.copy(release, self.center)
        return self.own.allow(release, state, why, approvers)

    def prune(self, record: Callable[[Surplus], object]) -> None:
        """Remove what no device of this clinic needs any more; `record` is told first. Raises StoreError."""
        self.mirror.prune(self.own.folder, record)
        self.own.prune(record)

    def agreement(self, federation: View) -> Agreement:
        """What devices are to see, as of this copy."""
        root = self.own.metadata("1.root.json")
        trusted = pinned(root, self.own.fingerprint(), COUNTERSIGNED)
        clinic = refresh(trusted, FolderFetcher(self.own.folder), self.own.clock, lambda kept: None)
        return agreed(federation, clinic)


def releases_of(folder: ClinicFolder) -> ClinicReleases:
    """Those of a joined clinic. Raises MissingPart without python-tuf, ConfigError, StoreError."""
    place = folder.path / FOLDER
    own = repository(place / OWN, folder.clock)
    return ClinicReleases(Mirror(place / FEDERATION, folder.clock), own, LineFetcher(folder.line()))


def tending(folder: ClinicFolder, append: Callable[[Event], object]) -> Callable[[], None]:
    """What brings both channels up to date, once this clinic takes part in releases; until then it does nothing.

    Once an hour it removes what no device needs any more, which `append` has in the clinic's audit log first. It raises as
    `ClinicReleases.tend`.
    """
    prunes_at = float("-inf")

    def record(found: Surplus) -> None:
        now, name = folder.clock.unix(), folder.config.name
        append(event(now, name, "site", "prune.release", "releases", bytes=found.bytes, number=len(found.files)))

    def tend() -> None:
        nonlocal prunes_at
        if not is_begun(folder.path / FOLDER / OWN):
            return
        releases, now = releases_of(folder), folder.clock.now()
        releases.tend()
        if now >= prunes_at:
            prunes_at = now + PRUNES_S
            releases.prune(record)

    return tend
