"""A device without a hub that looks at whole series: its spool, its two lanes, a model of a few lines, and a clock."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom

from fedmed.dicom.arrivals import facts_of
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise
from fedmed.edge.aside import Aside
from fedmed.edge.copying import copy_of
from fedmed.edge.gathered import Gathered
from fedmed.edge.looking import DICOM, RECORD, Desk, Model
from fedmed.edge.machine import Event
from fedmed.edge.preparing import recipe_of
from fedmed.edge.series import Rule
from fedmed.edge.serieslane import SeriesLane
from fedmed.edge.stages import Stages
from fedmed.errors import FedmedError
from fedmed.serving.card import Card, Preparation
from fedmed.sites.studies import Target
from fedmed.store.spool.entry import INSTANCE, REAL_TIME, RESULT, STUDY, New
from fedmed.store.spool.spool import Spool
from tests.store.spool.spools import SMALL, Clock, Told

TARGET = Target((8, 16, 16), (9.0, 15.0, 15.0), (-1000.0, 400.0))
KEYS = Pseudonyms(b"u" * 32, b"i" * 32, b"d" * 32)
RULE = Rule()
COUNT = 7
PROTOCOL = Protocol(slices=COUNT, rows=32, columns=24, gap_mm=11.0, spacing_mm=(10.0, 9.0))


def slices(name: str = "ct", protocol: Protocol = PROTOCOL, **values: object) -> list[bytes]:
    """A series as a scanner sends it: in some order."""
    made = []
    for dataset in synthesise(3, name, protocol).slices:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        made.append(buffer.getvalue())
    random.Random(name).shuffle(made)
    return made


def in_order(contents: list[bytes]) -> list[bytes]:
    """From the feet up: without its last the series is sound."""
    return sorted(contents, key=lambda content: pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).InstanceNumber)


def uids(contents: list[bytes]) -> set[str]:
    return {str(pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True).SOPInstanceUID) for each in contents}


def card(kind: str = "classification", target: Target = TARGET, sliced: bool = False, version: str = "1") -> Card:
    space = target.size[1:] if sliced else target.size
    outputs = (1, *space) if kind == "segmentation" else (1,)
    classes = ("nothing", "lesion") if kind == "segmentation" else ("well", "ill")
    return Card(
        "lungs",
        version,
        kind,
        (1, *space),
        outputs,
        classes,
        target.pipeline(),
        Preparation("image"),
        18,
        weights_sha256="0" * 64,
    )


def mean(x: np.ndarray) -> np.ndarray:
    """A model that says how bright a volume is."""
    return x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)[:, 0, 0, 0].reshape(len(x), 1).astype(np.float32)


def bright(x: np.ndarray) -> np.ndarray:
    """A model that marks what is brighter than the middle of the window."""
    return ((x - 0.5) * 20).astype(np.float32)


@dataclass
class Box:
    """One device; `open` again after `close` is another process of it."""

    folder: Path
    model: Model | None = None
    rule: Rule = RULE
    limits: Limits = LIMITS
    copies: bool = True
    clock: Clock = field(default_factory=Clock)
    associations: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    dropped: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.model = self.model or Model(recipe_of(card()), "fp32", mean)
        self.open()

    def open(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.spool = Spool(self.folder / "spool", self.clock, SMALL, self.dropped, b"k" * 32)
        self.aside = Aside(self.folder / "aside", b"k" * 32, self.clock)
        self.lane = SeriesLane(
            self.spool,
            self.clock,
            self.desk,
            Gathered(self.spool, self.clock, self.rule),
            self.aside,
            lambda: frozenset(self.associations),
            self.told.append,
            self.said.append,
            limits=self.limits,
        )

    def again(self) -> None:
        """The process ends and another begins."""
        self.spool.close()
        self.open()

    def desk(self) -> Desk:
        copied: Callable[[bytes], tuple[bytes, str]] | None = (
            (lambda content: copy_of(content, KEYS)) if self.copies else None
        )
        return Desk("ct-1", self.model, True, copied, Stages(self.clock))

    def comes(self, contents: Iterable[bytes], association: str = "") -> None:
        """Images are received; nothing is done about them yet."""
        for content in contents:
            facts = {**facts_of(content), "association": association}
            self.spool.put(New(INSTANCE, facts["study"], REAL_TIME, facts, content))

    def sorts(self) -> None:
        """What the lane of images does with all that waits."""
        while (entry := self.spool.next([INSTANCE], self.clock.unix())) is not None:
            content, facts = self.spool.content(entry), entry.facts
            looked = self.desk().look(content, entry.group, f"image {entry.number}", self.clock.unix(), facts)
            self.said += looked.withheld
            self.spool.turn(entry.number, *looked.new)

    def works(self, most: int = 50) -> int:
        """What the lane of series does now; how many steps."""
        for steps in range(most):
            found = self.lane.look()
            if found.number is None:
                return steps
            try:
                self.lane.work(found.number)
            except FedmedError as error:
                self.said.append(str(error))
        raise AssertionError("it never ends")

    def gathers(self) -> bool:
        """Whether any image waits of which nothing was told."""
        return any(known.series.fresh for known in self.lane.gathered._known.values())

    def takes(self, contents: Iterable[bytes], association: str = "") -> None:
        """Received, sorted, and looked at if they are whole."""
        self.comes(contents, association)
        self.sorts()
        self.works()

    def results(self, form: str = RECORD) -> list[bytes]:
        """All that is on its way out."""
        found, last = [], 0
        while entries := self.spool.later(RESULT, last):
            found += [self.spool.content(entry) for entry in entries if entry.facts["form"] == form]
            last = entries[-1].number
        return found

    def records(self) -> list[dict]:
        return [json.loads(each) for each in self.results()]

    def findings(self) -> list[bytes]:
        return self.results(DICOM)

    def waiting(self) -> dict[str, int]:
        return {kind: count for kind, count in self.spool.counts().entries.items() if count and kind != STUDY}
