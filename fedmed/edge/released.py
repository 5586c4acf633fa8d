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
from fedmed.edge.holding import give_back
from fedmed.edge.ladder.rungs import Rungs
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
from fedmed.serving.engines.plans import Plans
from fedmed.serving.packages import Package, read_card_of
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
    """The device's releases; safe from any thread."""

    def __init__(
        self,
        folder: Path,
        fetchers: dict[str, Fetcher],
        wanted: Inference,
        clock: Clock,
        told: Callable[[kinds.Tell], None],
        limits: Limits,
        rungs: Rungs,
        pruned: Callable[[int, int], None] = lambda number, size: None,
    ) -> None:
        """`rungs` says in which precision releases run once they are committed. For the audit log, `told` hears of what
        becomes of them, and `pruned` how many files, of how many bytes, are about to be removed.

        Raises StoreError where the slots are damaged.
        """
        self._wanted, self._clock, self._turn, self._rungs = wanted, clock, threading.RLock(), rungs
        self._pruned, self._plans = pruned, Plans(folder / PLANS)
        self._options = options_of(folder, wanted)
        self._kept: tuple[kinds.Content | None, ...] = ()
        """What the slots held when nothing in them was spare."""
        self._active: Opened | None = None
        self._switching = threading.Lock()
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
            self._prune()

    def _prune(self) -> None:
        """Remove the files of releases that were given up, and what was built of models that are gone. Raises StoreError."""
        store, slots = self.device.store, self.device.slots
        if self._kept == slots.contents:
            return
        spare = store.spare(slots)
        plans = self._plans.spare(store.digests(slots))
        if files := [*spare, *plans]:
            with store.writing("a slot that is empty"):
                size = sum(path.lstat().st_size for path in files)
            self._pruned(len(files), size)
            store.clear(files)
        self._kept = slots.contents

    def _pin(self, name: str, fetcher: Fetcher) -> None:
        """Trust an authority by its first root, as the hub gives it: the clinic's own, known by the enrolment code."""
        root = whole(fetcher, f"{METADATA}/1.root.json", MOST["root"], self._clock)
        if root is None:
            raise Unreachable(f"the clinic has no releases of the {name} for its devices yet")
        self.device.pin(name, root, sha256(root))

    def end(self) -> None:
        """The process was told to stop; a release that is on its way is not waited for. Raises StoreError."""
        self.device.stop()

    @property
    def model(self) -> Model | None:
        """What looks at images now; None before the first release."""
        opened = self._active
        return None if opened is None else replace(opened.model, run=lambda x: self._watched(opened, x))

    def committed(self) -> tuple[Path, Model] | None:
        """Where the committed release is, and as what it runs; None while one is on trial, or there is none."""
        slots, opened = self.device.slots, self._active  # not in turn with `beat`: see `_observe`
        if opened is None or slots.trial is not None or opened.slot != slots.active:
            return None
        return self.device.store.package(opened.slot), opened.model

    def use(self, package: str, precision: str, backend: str) -> bool:
        """Run the committed release of this digest so, from the next image on; False where another one runs by now.

        Raises EngineFailed, PackageRefused: what ran runs on.
        """
        if (found := self.committed()) is None or found[1].card.digest != package:
            return False
        opened = self._opened_as(found[0], precision, backend)  # beside the one that runs: it takes its time
        with self._switching:
            if (now := self.committed()) is None or (now[0], now[1].card.digest) != (found[0], opened.model.card.digest):
                return False
            self._active = opened
        give_back()
        return True

    def lent(self, package: str) -> Model | None:
        """What looks at others' images: the active model where it is of this package, as digest.

        What others send tells nothing of how a release does here: nothing of it is evidence.
        """
        opened = self._active
        return opened.model if opened is not None and opened.model.card.digest == package else None

    def standing(self) -> dict[str, object]:
        """For status and heartbeats."""
        names = {"active": self._active, "beside": self._beside}
        told: dict[str, object] = {name: None if one is None else _told(one.model) for name, one in names.items()}
        return {**told, "ladder": self._rungs.facts()}

    def _watched(self, opened: Opened, x: Floats) -> Floats:
        """An answer that counts, seen by whoever decides about the release."""
        began = self._clock.now()
        try:
            logits = opened.model.run(x)
        except EngineFailed:
            self._observe(opened.slot, Evidence(results=1, errors=1))
            self._rungs.fell(opened.model.card.digest, "an image got no answer")
            raise
        took = self._clock.now() - began
        is_bad = not np.isfinite(logits).all()
        self._observe(opened.slot, Evidence(0.0, 1, int(is_bad), int(took > opened.slow_s)))
        if is_bad:
            self._rungs.fell(opened.model.card.digest, "an image's answer was no number")
        else:
            self._rungs.seen(opened.model.card.digest, x[0])
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
        """Not in turn with `beat`, which takes as long as a release takes to come: no image waits for that."""
        self.device.observe(slot, seen)

    def _examine(self, folder: Path) -> str:
        """The golden inputs, in a process of its own; and whether this device prepares images as it wants them."""
        try:
            recipe_of(Package.load(folder).card)
        except FedmedError as error:
            return str(error)
        verdict = self_test_apart(folder, self._released_in, self._wanted.backend)
        return "" if verdict.passed else verdict.reason

    @property
    def _released_in(self) -> str:
        """The precision that a release is tested and tried in: what a faster one falls back to has proven itself."""
        return SAFE if self._wanted.precision == "auto" else self._wanted.precision

    def _run(self, folder: Path | None) -> None:
        opened = self._opened(folder, self.device.slots.trial is None)
        with self._switching:
            self._active = opened
        give_back()

    def _run_beside(self, folder: Path | None) -> None:
        self._beside = self._opened(folder, False)
        give_back()

    def _opened(self, folder: Path | None, is_committed: bool) -> Opened | None:
        if folder is None:
            return None
        digest = read_card_of(folder).digest
        if is_committed and (rung := self._rungs.rung(digest)) != (self._released_in, self._wanted.backend):
            try:
                return self._opened_as(folder, *rung)
            except EngineFailed as error:
                self._rungs.fell(digest, f"it could not be opened: {error}")
        return self._opened_as(folder, self._released_in, self._wanted.backend)

    def _opened_as(self, folder: Path, precision: str, backend: str) -> Opened:
        name = table.file_of(read_card_of(folder).files.keys(), precision, backend)
        package = Package.load(folder, None if name is None else (name,))
        engine = table.open_engine(package, precision, backend, self._options)
        engine.run(package.golden.inputs[:1])  # the first run of an engine is slow, and no patient's
        slot = int(folder.name.rpartition("-")[2])
        return Opened(slot, Model(recipe_of(package.card), engine.precision, engine.run))


def options_of(folder: Path, wanted: Inference) -> Options:
    """How engines are opened on the device in a folder."""
    return Options(threads=wanted.threads, plans=folder / PLANS, batch=1)


def _takes_the_same(card: Card, other: Card) -> bool:
    """Whether an input of one is one of the other: a model of volumes is not compared with one of images."""
    return (card.inputs, card.pipeline, card.preparation) == (other.inputs, other.pipeline, other.preparation)


def _told(model: Model) -> dict[str, str]:
    card = model.card
    return {"name": card.name, "version": card.version, "digest": card.digest, "precision": model.precision}
