"""Climbs the precision ladder for the release that is committed here, in a thread of its own, off the way of images.

    images      each that was looked at goes into the sealed check set, where there is room and time for it
    measuring   each rung in a process of its own that gives way to all other work, while no image waits
    switching   the engine is opened beside the one that runs, and takes its place between two images
    probation   images that the choice has not seen are collected, and the rung is judged by them once more

`look` takes one step. What it comes to is remembered (`memory`), stands in status and heartbeats, and in the audit log.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from fedmed.clock import Clock
from fedmed.config.edge import Inference
from fedmed.edge.ladder.checkset import MOST, CheckSet
from fedmed.edge.ladder.climb import Climb, Phase, booted, decided, fallen, proven, stopped
from fedmed.edge.ladder.labelled import Labelled, labelled
from fedmed.edge.ladder.memory import Memory
from fedmed.edge.ladder.where import key_of
from fedmed.edge.looking import Model
from fedmed.errors import DataError, FedmedError, StoreError
from fedmed.serving.apart import AGREEMENT, Shown, rungs_apart
from fedmed.serving.climbing import Trial
from fedmed.serving.engines import table
from fedmed.serving.engines.engine import Floats
from fedmed.serving.ladder import LEAST_CASES, REFERENCE, SAFEST_FIRST, choose
from fedmed.serving.measuring import LEADING
from fedmed.serving.packages import Package
from fedmed.wire.visible import visible

AUTO = "auto"
LOOK_S, FRESH_S, PATIENCE_S = 1.0, 600.0, 600.0
"""Between two steps; between two images that are kept with nothing to decide; for how long images may hold it up."""
QUEUED = 8
"""Images on their way into the check set; what comes while they are written is not kept."""
MOST_REASON = 200
MOST_IMAGE = 4 << 20
"""Bytes of a model's input that a check set keeps: half a gigabyte for all of them."""


class Engines(Protocol):
    """`fedmed.edge.released.Released`."""

    def committed(self) -> tuple[Path, Model] | None:
        """Where the committed release is, and as what it runs; None while one is on trial, or there is none."""

    def use(self, package: str, precision: str, backend: str) -> bool:
        """Run the release of this digest so; False where another one runs by now. Raises EngineFailed, PackageRefused."""


@dataclass
class Climber:
    """One device. `keep` is for a thread of its own; `seen`, `fell`, `rung` and `facts` are safe from any."""

    folder: Path
    key: bytes
    wanted: Inference
    clock: Clock
    trial: Trial
    is_busy: Callable[[], bool]
    """Whether images wait to be looked at."""
    say: Callable[[str], None]
    record: Callable[..., None]
    engines: Engines | None = None
    """Given once there is one."""
    _climb: Climb | None = None
    _note: str = ""
    _images: queue.Queue[tuple[str, Floats]] = field(default_factory=lambda: queue.Queue(QUEUED))
    _fell: queue.SimpleQueue[tuple[str, str]] = field(default_factory=queue.SimpleQueue)
    _wake: threading.Event = field(default_factory=threading.Event)
    _kept_at: float = float("-inf")
    _waits_since: float | None = None

    def __post_init__(self) -> None:
        """What the process before left on probation is counted now. Raises StoreError."""
        self._memory, self._checks = Memory(self.folder), CheckSet(self.folder, self.key)
        for before in self._memory.all():
            if (now := booted(before)) != before:
                self._memory.put(now)
                self._told(now)

    @property
    def is_on(self) -> bool:
        """Whether it is this that chooses."""
        return self.wanted.precision == AUTO

    def rung(self, package: str) -> tuple[str, str]:
        """Precision and back end that the committed release of this digest is opened in."""
        if not self.is_on:
            return self.wanted.precision, self.wanted.backend
        try:
            known = self._memory.get(key_of(package, self.wanted, self._labels()))
            if known.phase is Phase.PROBATION and not known.is_up:
                self._memory.put(replace(known, is_up=True))  # on the disk before it runs: it may end the process
        except (DataError, StoreError) as error:
            self.say(f"{package[:16]} runs in {REFERENCE}: {error}")
            return REFERENCE, self.wanted.backend
        return known.precision, known.backend or self.wanted.backend

    def seen(self, package: str, image: Floats) -> None:
        """An image `(*inputs)` that was looked at; kept where there is a use for it, and time."""
        if self.is_on and image.nbytes <= MOST_IMAGE:
            with suppress(queue.Full):
                self._images.put_nowait((package, image))

    def fell(self, package: str, why: str) -> None:
        """A rung that was chosen gave no answer: the reference takes its place at once."""
        self._fell.put((package, why))
        self._wake.set()

    def keep(self, stop: threading.Event) -> None:
        """Until `stop` is set. What cannot be done is said, the same trouble once."""
        told = ""
        while not stop.is_set():
            try:
                self.look()
                told = ""
            except FedmedError as error:
                if str(error) != told:
                    self.say(f"the precision of the model stays as it is: {error}")
                told = str(error)
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def end(self) -> None:
        """The process was told to stop. Raises StoreError."""
        for each in self._memory.all():
            if each.is_up:
                self._memory.put(stopped(each))

    def look(self) -> None:
        """One step. Raises StoreError, EngineFailed, PackageRefused, DataError: all stays as it is."""
        if not self.is_on or self.engines is None:
            return
        found = self.engines.committed()
        if found is None:
            self._climb, self._note = None, f"{REFERENCE} until a release is committed"
            return
        place, model = found
        climb = self._climb = self._memory.get(key_of(model.card.digest, self.wanted, self._labels()))
        if (why := self._fault(model.card.digest)) and climb.is_fast:
            climb = fallen(climb, why)
            if model.precision != climb.precision:
                self._switch(climb, model)  # first: a disk that is full must not hold it up
            self._came_to(climb)
            return
        trouble = self._take_images(climb, model)
        if climb.phase is Phase.SAFE:
            climb = self._begin(climb, place, model)
        elif climb.phase is Phase.PROBATION:
            climb = self._try(climb, place, model)
        if climb.precision != model.precision:
            self._switch(climb, model)
        if trouble is not None:
            raise trouble

    def _fault(self, package: str) -> str:
        told = ""
        while not self._fell.empty():
            name, why = self._fell.get()
            told = told or (why if name == package else "")
        return told

    def _take_images(self, climb: Climb, model: Model) -> StoreError | None:
        """Those that came; each while something is to be decided, then one now and then, for the next release.

        Why they cannot be kept, if so: all else goes on.
        """
        while not self._images.empty():
            package, image = self._images.get_nowait()
            is_due = climb.phase is not Phase.HELD or self.clock.now() - self._kept_at >= FRESH_S
            if package == model.card.digest and is_due:
                self._kept_at = self.clock.now()
                self._checks.keep_only(model.card)
                try:
                    self._checks.keep(model.card, image)
                except StoreError as error:
                    return error
        return None

    def _begin(self, climb: Climb, place: Path, model: Model) -> Climb:
        """Measure, where there is anything to choose and enough to choose by."""
        others = (each for each in SAFEST_FIRST if each != REFERENCE)
        if not any(table.able_with(model.card.files.keys(), each, self.wanted.backend) for each in others):
            return self._came_to(replace(climb, phase=Phase.HELD, why=f"{REFERENCE} alone of this release runs here"))
        if (size := 4 * math.prod(model.card.inputs)) > MOST_IMAGE:
            why = f"an input has {size} bytes; a check set keeps up to {MOST_IMAGE}"
            return self._came_to(replace(climb, phase=Phase.HELD, why=why))
        known, count = self._labelled(model), self._checks.count(model.card)
        if known is None and count < LEAST_CASES:
            self._note = f"runs in fp32 until {LEAST_CASES} images were looked at ({count} so far)"
            return climb
        if not self._may():
            return climb
        shown, basis = self._shown(known, model, count)
        self._note = f"measures each precision by {basis}"
        choice = choose(rungs_apart(Package.load(place), shown, self.trial, self.wanted.backend))
        climb = self._came_to(decided(climb, choice, basis, known is None))
        self._checks.empty()  # what judges it on probation is not what it was chosen by
        return climb

    def _try(self, climb: Climb, place: Path, model: Model) -> Climb:
        """Once more, by images that came since. Where it was chosen by labels, answers to a hundred of them are enough."""
        count = self._checks.count(model.card)
        self._note = f"{climb.precision} is on probation ({min(count, LEAST_CASES)} of {LEAST_CASES} images)"
        if count < LEAST_CASES or not self._may():
            return climb
        if climb.is_agreement:
            shown, _ = self._shown(None, model, count)
            only = (REFERENCE, climb.precision)
            choice = choose(rungs_apart(Package.load(place), shown, self.trial, self.wanted.backend, only))
            row = next((each for each in choice.rows if (each.precision, each.backend) == climb.rung), None)
            if row is None or row.is_out:
                why = "it does not run any more" if row is None else row.reason
                return self._came_to(fallen(climb, f"on probation, {why}"))
        return self._came_to(proven(climb, count))

    def _may(self) -> bool:
        """Not while images wait, but for a device that always has some."""
        if not self.is_busy():
            self._waits_since = None
            return True
        self._waits_since = self._waits_since or self.clock.now()
        return self.clock.now() - self._waits_since >= PATIENCE_S

    def _shown(self, known: Labelled | None, model: Model, count: int) -> tuple[Shown, str]:
        kind = model.card.kind
        if known is not None:
            shown = Shown(len(known.paths), lambda: known.images(model.image_recipe), known.y)
            return shown, f"{LEADING[kind]} on {len(known.paths)} labelled images of this device"
        count = min(count, MOST)
        what = "decisions" if AGREEMENT[kind] == "accuracy" else "masks (Dice)"
        basis = f"agreement with the {what} of fp32 on {count} images of this device, which is no accuracy"
        return Shown(count, lambda: self._checks.images(model.card, count)), basis

    def _labelled(self, model: Model) -> Labelled | None:
        """None where there are too few, or none for this kind of model."""
        if self.wanted.check is None or model.card.kind != "classification" or model.is_of_volumes:
            return None
        found = labelled(self.folder / self.wanted.check, model.card.classes)
        return found if len(found.paths) >= LEAST_CASES else None

    def _labels(self) -> str:
        """What tells one set of labels from another: the folder's name and its time."""
        if self.wanted.check is None:
            return ""
        place = self.folder / self.wanted.check
        try:
            return f"{place} {max(each.stat().st_mtime_ns for each in (place, *place.iterdir()))}"
        except OSError as error:
            raise DataError(f"{place} cannot be read ({error.strerror}); mend inference.check in edge.yaml") from error

    def _switch(self, climb: Climb, model: Model) -> None:
        assert self.engines is not None
        try:
            if self.engines.use(model.card.digest, climb.precision, climb.backend or self.wanted.backend):
                self.say(f"{model.card.name} {model.card.version} runs in {climb.precision} from now on: {climb.why}")
        except FedmedError as error:
            if not climb.is_fast:
                raise
            self._came_to(fallen(climb, f"it could not be opened: {error}"))

    def _came_to(self, climb: Climb) -> Climb:
        self._memory.put(climb)
        self._climb, self._note = climb, ""
        self._told(climb)
        return climb

    def _told(self, climb: Climb) -> None:
        outcome = "failed" if " was left: " in climb.why else "done"
        what = f"package {climb.key.package[:16]}"
        self.record("model.precision", what, outcome, visible(climb.why)[:MOST_REASON], mode=climb.precision)
        self.say(f"the model's precision: {climb.precision}; {climb.why}")

    def facts(self) -> dict[str, Any]:
        """For status and heartbeats: small, and nothing of a patient."""
        climb = self._climb
        if not self.is_on or climb is None:
            return {"wanted": self.wanted.precision, "why": self._note}
        rows = [{**asdict(row), "reason": visible(row.reason)[:MOST_REASON]} for row in climb.rows]
        why = self._note or visible(climb.why)[:MOST_REASON]
        told = {"phase": climb.phase.value, "precision": climb.precision, "basis": climb.basis, "why": why}
        return {"wanted": AUTO, **told, "rungs": rows}
