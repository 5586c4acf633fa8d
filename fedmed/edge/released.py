"""Which released models run on this device now: the one whose results count, and one beside it that is only compared.

`fedmed.releases` decides; here its slots are opened, tried in a process of their own first, and watched: how many results,
how many errors, how slow, how often the two disagree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import Clock
from fedmed.config.edge import Inference
from fedmed.edge.looking import Model, probabilities
from fedmed.edge.preparing import recipe_of
from fedmed.errors import EngineFailed, FedmedError, Unreachable
from fedmed.releases import slots as kinds
from fedmed.releases.device import Device, Hands
from fedmed.releases.fetching import METADATA, Fetcher, whole
from fedmed.releases.slots import Evidence, Limits
from fedmed.releases.slotstore import SlotStore
from fedmed.releases.trusting import MOST
from fedmed.serving.card import Card
from fedmed.serving.engines import table
from fedmed.serving.engines.engine import Options
from fedmed.serving.packages import Package
from fedmed.serving.testing import self_test_apart
from fedmed.wire.tensors import sha256

Floats = NDArray[np.float32]
FOLDER, ANCHOR, PLANS = "releases", "anchor/anchor.json", "plans"
SLOW_S, SLOW_VOLUME_S = 1.0, 60.0
"""A result that takes longer counts as slow, of an image and of a whole series."""
SAFE = "fp32"


@dataclass(frozen=True)
class Opened:
    """A slot that runs."""

    slot: int
    model: Model

    @property
    def slow_s(self) -> float:
        """See `SLOW_S`."""
        return SLOW_VOLUME_S if self.model.is_of_volumes else SLOW_S


class Released:
    """The device's releases; safe from any thread, one at a time."""

    def __init__(
        self,
        folder: Path,
        fetchers: dict[str, Fetcher],
        wanted: Inference,
        clock: Clock,
        told: Callable[[kinds.Tell], None],
        limits: Limits,
    ) -> None:
        """`told` hears of what becomes of releases, for the audit log. Raises StoreError where the slots are damaged."""
        self._wanted, self._clock, self._turn = wanted, clock, threading.RLock()
        self._options = Options(threads=wanted.threads, plans=folder / PLANS, batch=1)
        self._active: Opened | None = None
        self._beside: Opened | None = None
        self._seen = clock.now()
        store = SlotStore(folder / FOLDER, folder / ANCHOR)
        hands = Hands(self._examine, self._run, self._run_beside, told)
        self.device = Device(store, fetchers, clock, hands, limits)

    def begin(self) -> None:
        """What ran before runs; no network is needed. Raises StoreError."""
        with self._turn:
            self._seen = self._clock.now()
            self.device.boot()

    def beat(self) -> None:
        """Ask what is agreed, and go as far as that goes. Raises ReleaseRefused, Unreachable, StoreError."""
        with self._turn:
            now = self._clock.now()
            seconds, self._seen = now - self._seen, now
            for opened in (self._active, self._beside):
                if opened is not None:
                    self.device.observe(opened.slot, Evidence(seconds=seconds))
            for name, fetcher in self.device.fetchers.items():
                if self.device.store.trusted(name) is None:
                    self._pin(name, fetcher)
            self.device.beat()

    def _pin(self, name: str, fetcher: Fetcher) -> None:
        """Trust an authority by its first root, as the hub gives it: the clinic's own, known by the enrolment code."""
        root = whole(fetcher, f"{METADATA}/1.root.json", MOST["root"], self._clock)
        if root is None:
            raise Unreachable(f"the clinic has no releases of the {name} for its devices yet")
        self.device.pin(name, root, sha256(root))

    def end(self) -> None:
        """The process was told to stop. Raises StoreError."""
        with self._turn:
            self.device.stop()

    @property
    def model(self) -> Model | None:
        """What looks at images now; None before the first release."""
        opened = self._active
        return None if opened is None else replace(opened.model, run=lambda x: self._watched(opened, x))

    def standing(self) -> dict[str, object]:
        """For status and heartbeats."""
        names = {"active": self._active, "beside": self._beside}
        return {name: None if one is None else _told(one.model) for name, one in names.items()}

    def _watched(self, opened: Opened, x: Floats) -> Floats:
        """An answer that counts, seen by whoever decides about the release."""
        began = self._clock.now()
        try:
            logits = opened.model.run(x)
        except EngineFailed:
            self._observe(opened.slot, Evidence(results=1, errors=1))
            raise
        took = self._clock.now() - began
        is_bad = not np.isfinite(logits).all()
        self._observe(opened.slot, Evidence(0.0, 1, int(is_bad), int(took > opened.slow_s)))
        if (beside := self._beside) is not None and not is_bad and _takes_the_same(opened.model.card, beside.model.card):
            self._compare(beside, x, logits)
        return logits

    def _compare(self, beside: Opened, x: Floats, logits: Floats) -> None:
        began = self._clock.now()
        try:
            other = beside.model.run(x)
        except EngineFailed:
            self._observe(beside.slot, Evidence(results=1, errors=1))
            return
        took = self._clock.now() - began
        agree = np.array_equal(probabilities(logits).argmax(1), probabilities(other).argmax(1))
        self._observe(beside.slot, Evidence(0.0, 1, 0, int(took > beside.slow_s), 1, int(not agree)))

    def _observe(self, slot: int, seen: Evidence) -> None:
        with self._turn:
            self.device.observe(slot, seen)

    def _examine(self, folder: Path) -> str:
        """The golden inputs, in a process of its own; and whether this device prepares images as it wants them."""
        try:
            recipe_of(Package.load(folder).card)
        except FedmedError as error:
            return str(error)
        verdict = self_test_apart(folder, self._precision, self._wanted.backend)
        return "" if verdict.passed else verdict.reason

    @property
    def _precision(self) -> str:
        return SAFE if self._wanted.precision == "auto" else self._wanted.precision

    def _run(self, folder: Path | None) -> None:
        self._active = self._opened(folder)

    def _run_beside(self, folder: Path | None) -> None:
        self._beside = self._opened(folder)

    def _opened(self, folder: Path | None) -> Opened | None:
        if folder is None:
            return None
        package = Package.load(folder)
        engine = table.open_engine(package, self._precision, self._wanted.backend, self._options)
        engine.run(package.golden.inputs[:1])  # the first run of an engine is slow, and no patient's
        slot = int(folder.name.rpartition("-")[2])
        return Opened(slot, Model(recipe_of(package.card), engine.precision, engine.run))


def _takes_the_same(card: Card, other: Card) -> bool:
    """Whether an input of one is one of the other: a model of volumes is not compared with one of images."""
    return (card.inputs, card.pipeline, card.preparation) == (other.inputs, other.pipeline, other.preparation)


def _told(model: Model) -> dict[str, str]:
    card = model.card
    return {"name": card.name, "version": card.version, "digest": card.digest, "precision": model.precision}
