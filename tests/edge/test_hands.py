"""The device's hands with a real spool, before and after the first release, and on a disk that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from errno import EIO
from pathlib import Path

import numpy as np
import pytest

from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.aside import Aside
from fedmed.edge.copying import copy_of
from fedmed.edge.gathered import Gathered
from fedmed.edge.hands import AWAITS_S, MOST_ENDED, MOST_SLOW, EdgeHands
from fedmed.edge.looking import Desk, Model
from fedmed.edge.machine import Done, Event, Failed, Found, Kept, Lane
from fedmed.edge.making import Made, MakerEnded, MakerSlow
from fedmed.edge.outgoing import Line
from fedmed.edge.pacing import Pace
from fedmed.edge.preparing import recipe_of
from fedmed.edge.records import Records
from fedmed.edge.series import Rule
from fedmed.edge.serieslane import SeriesLane
from fedmed.edge.stages import Stages
from fedmed.errors import DataError, FedmedError, StoreError
from fedmed.store.spool.entry import INSTANCE, LATER, REAL_TIME, RESULT, SERIES, SOON, STUDY, Entry, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool
from tests.edge import series
from tests.edge.test_looking import CARD, KEYS
from tests.store.spool.spools import Clock, Told

ROOM = Quota(bytes=1 << 30, ballast=0)


@dataclass
class Box:
    """One device; `again` is its next process."""

    folder: Path
    quota: Quota = ROOM
    copies: bool = True
    model: Model | None = None
    clock: Clock = field(default_factory=Clock)
    said: list[str] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    dropped: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.spool = Spool(self.folder / "spool", self.clock, self.quota, self.dropped, b"k" * 32)
        self.stages = Stages(self.clock)
        self.aside = Aside(self.folder / "aside", b"k" * 32, self.clock)
        gathered = Gathered(self.spool, self.clock, Rule())
        lane = SeriesLane(
            self.spool, self.clock, self.desk, gathered, self.aside, frozenset, self.told.append, self.said.append
        )
        self.hands = EdgeHands(
            self.spool,
            self.clock,
            self.desk,
            self,
            None,  # type: ignore[arg-type]
            Line(None, Pace(), self.clock),  # type: ignore[arg-type]
            self.aside,
            Records(self.folder / "results"),
            self.told.append,
            self.said.append,
            dict,
            self.stages,
            None,  # type: ignore[arg-type]
            self.make,
            lane,
        )
        self.slow = list[MakerEnded]()

    def again(self) -> None:
        self.spool.close()
        self.__post_init__()

    def released(self) -> None:
        self.model = Model(recipe_of(CARD), "fp32", lambda x: np.full((1, 1), 2.0, np.float32))

    def desk(self) -> Desk:
        copied = (lambda content: copy_of(content, KEYS)) if self.copies else None
        return Desk("us-1", self.model, False, copied, self.stages)

    def make(self, content: bytes, patience: int) -> Made:
        raise self.slow.pop(0)

    def send(self, objects: Sequence[bytes]) -> list:
        raise AssertionError("nothing was made")

    def comes(self, *contents: bytes, group: str = "1.2.3") -> None:
        for number, content in enumerate(contents):
            self.spool.put(New(INSTANCE, f"{group}.{number % 2}", REAL_TIME, {}, content))

    def goes(self, lane: Lane = Lane.WORK) -> Done | Failed | None:
        """What the machine would have done, once; None where nothing is to be done now."""
        found = self.hands.look(lane)
        if isinstance(found, Failed) or found.number is None:
            return None
        ended = self.hands.work(lane, found.number)
        if isinstance(ended, Failed) and not ended.is_lasting:
            self.hands.defer(found.number, 0.0, ended.why)
        return ended

    def all_go(self) -> int:
        count = 0
        while (ended := self.goes()) is not None:
            assert ended == Done(Lane.WORK)
            count += 1
        return count

    def waits(self, kind: str) -> int:
        return self.spool.counts().entries[kind]

    def looked_at(self) -> list[str]:
        """SOP instances in the order of their results."""
        found = list[str]()
        while entries := self.spool.batch([RESULT], self.clock.unix(), most=1):
            found.append(json.loads(self.spool.content(entries[0]))["sources"][0]["sop_instance"])
            self.spool.done(entries[0].number)
        return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.05)
    return [path.read_bytes() for path in sorted(folder.rglob("*.dcm"))[:8]]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "box")
    yield made
    made.spool.close()


def test_images_before_the_first_release_are_copied_at_once_and_looked_at_when_there_is_one(box: Box, images: list[bytes]):
    box.comes(*images[:5])
    assert box.all_go() == 5
    assert (box.waits(INSTANCE), box.waits(STUDY), box.waits(RESULT)) == (5, 5, 0)
    assert Kept(STUDY) in box.told
    found = box.hands.look(Lane.WORK)
    assert found == Found(Lane.WORK, None, box.clock.now() + AWAITS_S)  # a release may be there then
    assert box.said == []
    box.released()
    box.comes(images[5], group="9.9")
    assert box.all_go() == 6
    assert (box.waits(INSTANCE), box.waits(STUDY)) == (0, 6)  # no copy is there twice
    order = box.looked_at()
    assert order[0].encode() in images[5]  # somebody may wait for it
    assert [next(at for at, each in enumerate(images) if sop.encode() in each) for sop in order[1:]] == [0, 1, 2, 3, 4]
    assert box.stages.told()["whole"]["count"] == 1


def test_whole_series_that_waited_are_held_as_what_they_were_and_looked_at(box: Box):
    slices = series.slices()
    for each in slices:
        box.spool.put(New(INSTANCE, "1.2.3", REAL_TIME, {}, each))
    box.all_go()
    box.model = Model(recipe_of(series.card()), "fp32", series.mean)
    box.clock.time += AWAITS_S
    assert box.all_go() == len(slices)
    assert {each.priority for each in box.spool.later(SERIES, 0)} == {LATER}
    assert box.goes(Lane.SERIES) is None  # more may come
    box.clock.time += 60
    assert box.goes(Lane.SERIES) == Done(Lane.SERIES)
    [entry] = box.spool.batch([RESULT], box.clock.unix())
    assert json.loads(box.spool.content(entry))["series"]["used"] == len(slices)


def test_without_copies_images_wait_and_the_next_process_copies_none_twice(box: Box, images: list[bytes]):
    box.copies = False
    box.comes(*images[:3])
    assert box.all_go() == 3
    box.again()
    assert box.goes() is None
    assert (box.waits(INSTANCE), box.waits(STUDY), box.dropped.drops, box.aside.listed()) == (3, 0, [], {})
    box.released()
    assert box.all_go() == 3
    assert len(box.looked_at()) == 3


class Copier:
    """Copies nothing, for a reason."""

    def __init__(self, why: FedmedError) -> None:
        self.why = why

    def __call__(self, content: bytes) -> tuple[bytes, str]:
        raise self.why


def test_an_image_of_which_no_copy_may_be_made_waits_all_the_same(box: Box, images: list[bytes]):
    box.comes(images[0])
    desk = replace(box.desk(), copied=Copier(DataError("text in its pixels")))
    box.hands.desk = lambda: desk
    assert box.goes() == Done(Lane.WORK)
    assert (box.waits(INSTANCE), box.waits(STUDY)) == (1, 0)
    assert box.said == ["no copy for training: text in its pixels"]


def test_an_image_whose_copy_the_disk_refuses_is_found_again(box: Box, images: list[bytes]):
    box.comes(images[0])
    desk = replace(box.desk(), copied=Copier(StoreError("the disk is full")))
    box.hands.desk = lambda: desk
    assert box.goes() == Failed(Lane.WORK, 1, "the disk is full")
    assert box.spool.later(INSTANCE, 0)[0].priority == REAL_TIME
    box.hands.desk = box.desk
    assert box.goes() == Done(Lane.WORK)
    assert box.spool.later(INSTANCE, 0)[0].priority == LATER


def test_what_no_model_could_look_at_is_set_aside_before_any_release(box: Box):
    box.copies = False
    box.comes(b"no image")
    ended = box.goes()
    assert isinstance(ended, Failed)
    assert (ended.is_lasting, box.waits(INSTANCE)) == (True, 0)
    [facts] = box.aside.listed().values()
    assert str(facts["why"]).startswith("no result: ")


def test_what_waits_for_a_release_gives_way_the_oldest_first_and_no_scanner_is_refused(tmp_path: Path, images: list[bytes]):
    size = max(len(each) for each in images) + 8192
    box = Box(tmp_path / "box", quota=Quota(bytes=4 * size, ballast=0), copies=False)
    for number, image in enumerate(images):
        box.comes(image, group=str(number))
        box.all_go()
    numbers = [number for number, _ in box.dropped.numbers]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(images) - 4
    assert box.waits(INSTANCE) == len(images) - len(numbers)
    box.spool.close()


def test_where_there_is_room_for_a_copy_alone_it_takes_the_images_place(tmp_path: Path, images: list[bytes]):
    size = len(images[0]) + 8192
    box = Box(tmp_path / "box", quota=Quota(bytes=size + size // 2, ballast=0))
    box.comes(images[0])
    assert box.goes() == Done(Lane.WORK)
    assert (box.waits(INSTANCE), box.waits(STUDY)) == (0, 1)
    assert box.said == ["image 1 waits for no release: the spool has room for its copy alone"]
    box.spool.close()


@pytest.mark.parametrize("lane", [Lane.WORK, Lane.PACS, Lane.HUB, Lane.SERIES])
@pytest.mark.parametrize("has_model", [False, True])
def test_a_look_that_the_disk_refuses_is_a_failure_of_its_lane(box: Box, lane: Lane, has_model: bool):
    if has_model:
        box.released()
    box.spool.close()
    found = box.hands.look(lane)
    assert isinstance(found, Failed)
    assert (found.lane, found.number, found.is_lasting) == (lane, None, False)
    assert "was closed" in found.why


def test_a_broken_disk_ends_no_lane_in_whatever_words_it_says_so(box: Box, monkeypatch: pytest.MonkeyPatch):
    def broken(*given: object, **named: object) -> None:
        raise OSError(EIO, "Input/output error")

    box.copies = False
    box.comes(b"no image")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", broken)  # so says pathlib what it was not asked
        ended = box.goes()
    assert ended == Failed(Lane.WORK, 1, "[Errno 5] Input/output error")
    assert box.waits(INSTANCE) == 1
    ended = box.goes()
    assert isinstance(ended, Failed)
    assert ended.is_lasting


def test_what_was_taken_before_the_disk_refused_goes_and_is_not_lost(box: Box, monkeypatch: pytest.MonkeyPatch):
    for number in range(3):
        box.spool.put(New(STUDY, str(number), SOON, {}, b"copy %d" % number))
    batch, taken = box.spool.batch, list[Entry]()

    def twice(*given: object, **named: object) -> list[Entry]:
        if len(taken) == 2:
            raise StoreError("the disk is broken")
        found = batch(*given, **named)  # type: ignore[arg-type]
        taken.extend(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(box.spool, "batch", twice)
        found = box.hands.look(Lane.HUB)
        assert found == Found(Lane.HUB, 1)
        assert [each.number for each in box.hands._held[1]] == [1, 2]
        again = box.hands.look(Lane.HUB)
        assert again == Failed(Lane.HUB, None, "the disk is broken")
    box.hands.defer(1, 0.0, "later")
    assert box.hands.look(Lane.HUB) == Found(Lane.HUB, 1)
    assert [each.number for each in box.hands._held[1]] == [1, 2, 3]


def test_a_model_without_an_answer_and_no_copies_is_told_as_what_it_is(box: Box, images: list[bytes]):
    box.copies = False
    box.model = Model(recipe_of(CARD), "fp32", lambda x: np.full((1, 1), np.nan, np.float32))
    box.comes(images[0])
    for _ in range(4):
        assert not box.goes().is_lasting  # type: ignore[union-attr]
    ended = box.goes()
    assert isinstance(ended, Failed)
    assert (ended.is_lasting, "values that are not finite" in ended.why) == (True, True)


@pytest.mark.parametrize(
    ("error", "tries", "why"),
    [
        (
            MakerSlow(240.0),
            MOST_SLOW,
            "takes more than 240 s to make, so that the PACS has none; fedmed edge results has it",
        ),
        (MakerEnded("it ended"), MOST_ENDED, f"ended the process that makes it {MOST_ENDED} times"),
    ],
)
def test_a_result_that_cannot_be_made_is_set_aside_after_few_tries_with_the_reason(
    box: Box, error: MakerEnded, tries: int, why: str
):
    box.spool.put(New(RESULT, "1.2.3", SOON, {"form": "dicom"}, b"a finding"))
    box.slow = [error] * tries
    for _ in range(tries - 1):
        assert box.goes(Lane.PACS) == Failed(Lane.PACS, 1, str(error))
    assert box.goes(Lane.PACS) == Failed(Lane.PACS, 1, f"result 1 {why}", is_lasting=True)
    [facts] = box.aside.listed().values()
    assert facts["why"] == f"result 1 {why}"
    assert box.waits(RESULT) == 0
