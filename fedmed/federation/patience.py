"""The waiting for sites: one time limit for all where the scenario names one, else each site's own, out of `pace`.

How long is waited never changes what is asked, so a process that goes on after a crash needs none of this to say again what
was said; what was measured lies in `pace.json` of the run's folder, and whatever of it is lost is measured again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fedmed.clock import Clock
from fedmed.config.scenario import Rounds, Training
from fedmed.errors import StoreError
from fedmed.federation.pace import Past, Presence, Seen, Wait, wait_for
from fedmed.flower.keys import CENSUS

NAME = "pace.json"
SHOWN = ("train", "evaluate", CENSUS)
"""Kinds of message that are work; the others ask a word only."""
LOOK_S = 1.0
"""Between two looks at who gives signs of life."""


class Waiting(Protocol):
    """One waiting for some nodes, from the moment their messages went out."""

    def due(self, nodes: Collection[int], is_needed: bool = False) -> float:
        """When it ends if none of `nodes` answers, on the clock's scale; `is_needed`: it fails without them."""

    def again(self, now: float) -> None:
        """Those that had no turn yet have theirs from now on."""

    def heard(self, node: int, seconds: float, line_s: float, is_late: bool = False) -> None:
        """An answer came, so long after its work went out; `line_s` of that it was on its way."""

    def over(self, nodes: Iterable[int]) -> None:
        """The waiting has ended, and these had not answered."""

    def had(self, node: int) -> str:
        """The time that a node had, in words that follow `no answer`."""


class Patience(Protocol):
    """How long sites are waited for."""

    def begin(self, kind: str, nodes: Iterable[int], size: int, began: float) -> Waiting:
        """A waiting for answers to messages of one kind, with `size` bytes of tensors each, that went out at `began`."""


@dataclass
class _One:
    """The same time for all."""

    began: float
    deadline_s: float

    def due(self, nodes: Collection[int], is_needed: bool = False) -> float:
        """See `Waiting`."""
        return self.began + self.deadline_s

    def again(self, now: float) -> None:
        """See `Waiting`."""
        self.began = now

    def heard(self, node: int, seconds: float, line_s: float, is_late: bool = False) -> None:
        """Nothing is measured."""

    def over(self, nodes: Iterable[int]) -> None:
        """Nothing is measured."""

    def had(self, node: int) -> str:
        """See `Waiting`."""
        return f"by the deadline of {self.deadline_s:g} s"


@dataclass(frozen=True)
class Fixed:
    """The same time for all, whatever they did before."""

    deadline_s: float

    def begin(self, kind: str, nodes: Iterable[int], size: int, began: float) -> Waiting:
        """See `Patience`."""
        return _One(began, self.deadline_s)


@dataclass(frozen=True)
class Asked:
    """A site that can be asked: its name, and the work that training gives it."""

    name: str
    work: float
    """Cases times passes over them."""


class Notes:
    """What was measured in a run, in its folder."""

    def __init__(self, folder: Path) -> None:
        """Takes up what is there; what cannot be read is measured anew."""
        self._path = folder / NAME
        self.pasts: dict[tuple[str, str], Past] = {}
        """By site and kind of message."""
        self.waits: dict[str, dict[str, Wait]] = {}
        """The newest of each site, by kind of message."""
        try:
            told = json.loads(self._path.read_bytes())
            self.pasts = {(s, k): Past.of(past) for s, kinds in told["seen"].items() for k, past in kinds.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self.pasts = {}

    def write(self) -> None:
        """Put it on the disk. Raises StoreError."""
        seen: dict[str, dict[str, Any]] = {}
        for (site, kind), past in self.pasts.items():
            seen.setdefault(site, {})[kind] = past.record()
        waits = {
            site: {kind: {**asdict(wait), "explained": wait.explained(site)} for kind, wait in kinds.items()}
            for site, kinds in self.waits.items()
        }
        made = self._path.with_suffix(".new")
        try:
            made.write_text(json.dumps({"seen": seen, "waits": waits}), encoding="utf-8")
            made.replace(self._path)  # it may be lost: no need to wait for the disk
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written ({error.strerror}); make room or mend the disk") from error


class Measured:
    """Every site's own time."""

    def __init__(
        self, sites: Mapping[int, Asked], notes: Notes, online: Callable[[], Collection[int]], clock: Clock
    ) -> None:
        """`sites` by node; `online`: nodes that gave a sign of life within the last minute."""
        self.sites, self.notes = sites, notes
        self._online, self._clock = online, clock
        self._presence = Presence({}, {})
        self._looked = -math.inf

    def begin(self, kind: str, nodes: Iterable[int], size: int, began: float) -> Waiting:
        """See `Patience`."""
        waits = {node: self._wait(kind, self.sites[node], size) for node in nodes}
        if kind in SHOWN:
            for node, wait in waits.items():
                self.notes.waits.setdefault(self.sites[node].name, {})[kind] = wait
            self.notes.write()
        presence, now = self.presence(), self._clock.now()
        return _Own(self, kind, began, waits, {node: presence.away(node, now) for node in waits})

    def away(self, node: int) -> float:
        """Seconds that a node was away until now, altogether."""
        return self.presence().away(node, self._clock.now())

    def silent_s(self, node: int) -> float | None:
        """Seconds since `node` gave no sign of life any more; None for one that does."""
        since = self.presence().gone.get(node)
        return None if since is None else self._clock.now() - since

    def _wait(self, kind: str, site: Asked, size: int) -> Wait:
        return wait_for(self.past(site, kind), work_of(kind, site), size)

    def past(self, site: Asked, kind: str) -> Past:
        """What was seen of a site with this kind of message."""
        return self.notes.pasts.get((site.name, kind), Past())

    def presence(self) -> Presence:
        """Who gives signs of life, as of a second ago at most."""
        now = self._clock.now()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._presence = self._presence.looked(now, self.sites.keys(), self._online())
        return self._presence


def work_of(kind: str, site: Asked) -> float:
    """What a message of this kind gives a site to do; a question about a word gives none, and is counted as one case."""
    return max(1.0, site.work) if kind in SHOWN else 1.0


@dataclass
class _Own:
    """Each site's own time."""

    patience: Measured
    kind: str
    began: float
    waits: Mapping[int, Wait]
    away_before_s: Mapping[int, float]
    missed: set[int] = field(default_factory=set)

    def due(self, nodes: Collection[int], is_needed: bool = False) -> float:
        """See `Waiting`."""
        if math.isinf(self.began):  # it had ended before this process began
            return self.began
        presence = self.patience.presence()
        ends = (presence.due(n, self.began, self.waits[n], self.away_before_s[n], is_needed) for n in nodes)
        return max(ends, default=self.began)

    def again(self, now: float) -> None:
        """See `Waiting`."""
        self.began = now

    def heard(self, node: int, seconds: float, line_s: float, is_late: bool = False) -> None:
        """See `Waiting`; what came while it was not measured (an infinite time) tells nothing."""
        if not math.isfinite(seconds):
            return
        site, away = self.patience.sites[node], self.patience.away(node) - self.away_before_s[node]
        seen = Seen(max(0.0, seconds - away), min(line_s, seconds), work_of(self.kind, site))
        past = self.patience.past(site, self.kind)
        self.patience.notes.pasts[site.name, self.kind] = past.answered(seen, is_late)

    def over(self, nodes: Iterable[int]) -> None:
        """See `Waiting`: who is away has missed nothing."""
        if math.isinf(self.began):
            return
        for node in set(nodes) - self.patience.presence().gone.keys():
            site = self.patience.sites[node]
            self.patience.notes.pasts[site.name, self.kind] = self.patience.past(site, self.kind).missing()

    def had(self, node: int) -> str:
        """See `Waiting`."""
        if (silent := self.patience.silent_s(node)) is not None:
            return f"and no sign of life for {silent:.0f} s"
        wait = self.waits[node]
        return f"by the deadline of {wait.deadline_s:.0f} s ({wait.why})"


class Opened:
    """Begins the waiting of one exchange of words, and tells how long it was."""

    def __init__(self, patience: Patience, kind: str) -> None:
        self._patience, self._kind = patience, kind
        self._waiting: Waiting | None = None

    def __call__(self, nodes: Collection[int], began: float) -> Waiting:
        """The waiting for `nodes`, whose messages went out at `began`."""
        self._waiting = self._patience.begin(self._kind, nodes, 0, began)
        return self._waiting

    def had(self, node: int) -> str:
        """The time that a node had, in words that follow `no answer`."""
        assert self._waiting is not None
        return self._waiting.had(node)


def work(training: Training, cases: int) -> float:
    """Cases that a site goes through in a round, each as often as it does."""
    return cases * training.epochs if training.epochs else (training.steps or 1) * training.batch_size


def patience_for(
    rules: Rounds, sites: Mapping[int, Asked], notes: Notes | None, online: Callable[[], Collection[int]], clock: Clock
) -> Patience:
    """Measured where the scenario names no time and there is where to note it; else the same for all."""
    if rules.deadline_s is not None or notes is None:
        return Fixed(rules.longest_s)
    return Measured(sites, notes, online, clock)


def shown(folder: Path, rules: Rounds, sites: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How long each site of a run is waited for when it trains, and why: JSON, for people."""
    if rules.deadline_s is not None:
        fixed = Wait(rules.deadline_s, "the scenario gives every site the same time (federation.deadline_s)")
        return {site: {**asdict(fixed), "explained": fixed.explained(site)} for site in sites}
    try:
        waits = json.loads((folder / NAME).read_bytes())["waits"]
        return {site: waits[site]["train"] for site in sites if "train" in waits.get(site, {})}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
