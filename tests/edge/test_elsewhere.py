"""The device's hands with a real spool and a hub that a test plays: what goes elsewhere, and what comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.aside import Aside
from fedmed.edge.elsewhere import AT_ONCE, MOST_REFUSED, NOWHERE_S, Elsewhere
from fedmed.edge.hands import EdgeHands
from fedmed.edge.looking import Desk, Model
from fedmed.edge.machine import Done, Event, Failed, Found, Lane
from fedmed.edge.making import Maker
from fedmed.edge.outgoing import Line
from fedmed.edge.pacing import Pace
from fedmed.edge.preparing import recipe_of
from fedmed.edge.records import Records
from fedmed.edge.stages import Stages
from fedmed.errors import EngineFailed, FedmedError, ProtocolRefused, QuotaRefused, StoreError, Unreachable
from fedmed.hub.borrowing import Question, Stand
from fedmed.hub.looks import MOST_TENSOR
from fedmed.store.spool.entry import INSTANCE, REAL_TIME, RESULT, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool
from tests.edge.test_looking import CARD

RUNNING, DONE = Stand("running", "us-2"), Stand("done", "us-2", "int8")
GOOD = np.full((1, 1), 2.0, "<f4").tobytes()


class Seconds(SystemClock):
    """A clock that only waiting moves."""

    at = 0.0

    def now(self) -> float:
        return self.at


@dataclass
class Waits(threading.Event):
    """What an agent sets when it ends; here each wait is time that passes."""

    clock: Seconds

    def __post_init__(self) -> None:
        super().__init__()

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.at += timeout or 0.0
        return self.is_set()


@dataclass
class Hub:
    """Answers by the turn of an image's question: `answer` is given how often it was asked for already."""

    answer: Callable[[Question, int], Stand | FedmedError]
    log: list[tuple[str, str]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)

    def ask(self, question: Question) -> Stand:
        count = self.asked.get(question.task, 0)
        self.asked[question.task] = count + 1
        self.log.append(("ask", question.task))
        said = self.answer(question, count)
        if isinstance(said, FedmedError):
            raise said
        if said.state == "done" and not question.answer:
            question.answer += GOOD
        return said

    def unask(self, question: Question, is_refused: bool = False) -> None:
        self.log.append(("refuse" if is_refused else "unask", question.task))
        question.answer.clear()


@dataclass
class Box:
    hands: EdgeHands
    spool: Spool
    hub: Hub
    told: list[Event]
    said: list[str]
    dropped: list[str]

    def put(self, *contents: bytes, group: str = "1.2.3") -> None:
        self.spool.put(*(New(INSTANCE, group, REAL_TIME, {}, content) for content in contents))

    def go(self) -> Done | Failed | None:
        """What the machine would have done, once; None where nothing waits."""
        found = self.hands.look(Lane.ELSEWHERE)
        if isinstance(found, Failed) or found.number is None:
            return None
        ended = self.hands.work(Lane.ELSEWHERE, found.number)
        if isinstance(ended, Failed) and not ended.is_lasting:
            self.hands.defer(found.number, 60.0, ended.why)
        return ended

    def results(self) -> list[dict]:
        found = []
        while (entry := self.spool.next((RESULT,), SystemClock().unix())) is not None:
            found.append(json.loads(self.spool.content(entry)))
            self.spool.done(entry.number)
        return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.05)
    return [path.read_bytes() for path in sorted(folder.rglob("*.dcm"))[: AT_ONCE + 2]]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Box]]:
    spools: list[Spool] = []

    def make(answer: Callable[[Question, int], Stand | FedmedError] = lambda question, count: DONE) -> Box:
        clock, dropped = Seconds(), list[str]()
        spool = Spool(tmp_path / "spool", clock, Quota(1 << 30, 7), lambda entry, why: dropped.append(why))
        spools.append(spool)
        hub, told, said = Hub(answer), list[Event](), list[str]()

        def never(x: object) -> object:
            raise AssertionError("this device looks at an image")

        model = Model(recipe_of(CARD), "fp32", never)  # type: ignore[arg-type]
        desk = Desk("us-1", model, False, None, Stages(clock))
        hands = EdgeHands(
            spool,
            clock,
            lambda: desk,
            None,
            None,  # type: ignore[arg-type]
            Line(None, Pace(), clock),  # type: ignore[arg-type]
            Aside(tmp_path / "aside", b"k" * 32, clock),
            Records(tmp_path / "results"),
            told.append,
            said.append,
            dict,
            Stages(clock),
            Elsewhere(hub, clock, Waits(clock)),
            Maker().make,
            None,  # type: ignore[arg-type]
        )
        return Box(hands, spool, hub, told, said, dropped)

    yield make
    for spool in spools:
        spool.close()


def sops(results: list[dict]) -> list[str]:
    return [each["sources"][0]["sop_instance"] for each in results]


def test_images_of_a_study_are_asked_for_together_and_told_in_their_order(made, images):
    box = made(lambda question, count: DONE if count else RUNNING)
    box.put(*images)
    assert box.go() == Done(Lane.ELSEWHERE)
    order = [task for what, task in box.hub.log if what == "ask"]
    assert len(set(order[:AT_ONCE])) == AT_ONCE  # all are asked for before the first is waited for
    assert box.hub.log[-AT_ONCE:] == [("unask", task) for task in order[:AT_ONCE]]
    assert box.go() == Done(Lane.ELSEWHERE)
    assert box.go() is None
    results = box.results()
    assert len(results) == len(images)
    assert {each["device"] for each in results} == {"us-1"}
    assert {each["computed_on"] for each in results} == {"us-2"}
    assert {each["precision"] for each in results} == {"int8"}
    assert box.hands.elsewhere.told == {"us-2": len(images)}


def test_results_are_in_the_order_in_which_the_images_came(made, images):
    box = made()
    box.put(*images[:5])
    box.go()
    first = sops(box.results())
    for image, sop in zip(images, first, strict=False):
        assert sop.encode() in image


def test_without_a_place_images_go_back_and_what_was_answered_stays(made, images):
    tasks: list[str] = []

    def answer(question: Question, count: int) -> Stand:
        if question.task not in tasks:
            tasks.append(question.task)
        return DONE if tasks.index(question.task) < 2 else Stand("waiting", why="no node has room")

    box = made(answer)
    box.put(*images[:4])
    ended = box.go()
    assert isinstance(ended, Failed)
    assert not ended.is_lasting
    assert ended.why.endswith("no node has room")
    assert NOWHERE_S < box.hands.clock.now() < NOWHERE_S + 2
    assert len(box.results()) == 2
    assert box.spool.counts().entries[INSTANCE] == 2
    assert box.spool.next((INSTANCE,), SystemClock().unix()) is None  # put off, in their order
    assert box.spool.next((INSTANCE,), SystemClock().unix() + 61) is not None


@pytest.mark.parametrize(
    "error",
    [Unreachable("no hub"), QuotaRefused("full"), StoreError("the hub's disk"), ProtocolRefused("runs another package")],
)
def test_whatever_the_hub_says_no_image_is_lost_or_set_aside(made, images, error):
    box = made(lambda question, count: error)
    box.put(*images[:2])
    ended = box.go()
    assert isinstance(ended, Failed)
    assert not ended.is_lasting
    assert box.spool.counts().entries[INSTANCE] == 2
    assert box.dropped == []


def test_what_cannot_be_set_aside_waits_and_is_set_aside_once_the_disk_takes_it(made, tmp_path):
    box = made()
    box.put(b"no image")
    (tmp_path / "aside").write_bytes(b"")  # nothing can be put below it
    ended = box.go()
    assert isinstance(ended, Failed)
    assert not ended.is_lasting
    assert "it waits, for it cannot be set aside" in ended.why
    assert box.spool.counts().entries[INSTANCE] == 1
    assert box.dropped == []
    (tmp_path / "aside").unlink()
    box.put(b"no image either", group="4.5.6")
    assert box.go().is_lasting
    assert box.dropped == ["set aside"]
    assert len(box.hands.aside.listed()) == 1


def test_an_answer_that_none_can_be_is_refused_and_another_wanted(made, images):
    bad = [b"123", np.full((1, 1), np.nan, "<f4").tobytes()]

    def answer(question: Question, count: int) -> Stand:
        if count and count <= len(bad):  # the first question sends the input
            question.answer += bad[count - 1]
        return DONE if count else RUNNING

    box = made(answer)
    box.put(images[0])
    assert box.go() == Done(Lane.ELSEWHERE)
    assert [what for what, _ in box.hub.log] == ["ask", "ask", "refuse", "ask", "refuse", "ask", "unask"]
    assert len(box.results()) == 1


def test_a_hub_that_takes_no_refusal_costs_no_image(made, images):
    def answer(question: Question, count: int) -> Stand:
        question.answer += b"lies!" if count else b""
        return DONE if count else RUNNING

    box = made(answer)
    box.hub.unask = lambda question, is_refused=False: raised(ProtocolRefused("places: none"))
    box.put(images[0])
    ended = box.go()
    assert isinstance(ended, Failed)
    assert not ended.is_lasting
    assert box.spool.counts().entries[INSTANCE] == 1


def raised(error: FedmedError) -> None:
    raise error


def test_of_nothing_but_lies_no_result_is_made(made, images):
    def answer(question: Question, count: int) -> Stand:
        question.answer += b"lies!" if count else b""
        return DONE if count else RUNNING

    box = made(answer)
    box.put(images[0])
    ended = box.go()
    assert isinstance(ended, Failed)
    assert "us-2 answers with 5 bytes" in ended.why
    assert [what for what, _ in box.hub.log].count("refuse") == MOST_REFUSED
    assert box.spool.counts().entries == {"instance": 1, "series": 0, "result": 0, "study": 0, "update": 0}


def test_an_image_that_cannot_be_prepared_is_asked_of_nobody_and_holds_up_no_other(made, images):
    box = made()
    box.put(images[0], b"no DICOM", images[1])
    ended = box.go()
    assert isinstance(ended, Failed)
    assert ended.is_lasting  # set aside for people, with the reason
    assert "no result" in ended.why
    assert len(box.results()) == 1
    assert box.go() == Done(Lane.ELSEWHERE)
    assert len(box.results()) == 1
    assert box.dropped == ["set aside"]
    assert len(box.hub.asked) == 2


def test_an_agent_that_ends_leaves_the_image_to_its_next_process(made, images):
    box = made(lambda question, count: RUNNING)
    box.hands.elsewhere.stop.set()
    box.put(images[0])
    ended = box.go()
    assert isinstance(ended, Failed)
    assert "the agent ends" in ended.why
    assert box.spool.counts().entries[INSTANCE] == 1


def test_an_input_beyond_what_travels_waits_here(made):
    box = made()
    prepared = type("Large", (), {"values": np.zeros((1, MOST_TENSOR // 4 + 1), np.float32)})
    model = box.hands.desk().model
    with pytest.raises(Unreachable, match="at most"):
        box.hands.elsewhere.begin(model, prepared)
    assert box.hub.log == []


def test_an_image_that_ended_the_process_while_it_was_prepared_is_asked_of_nobody(made, images, tmp_path):
    box = made()
    box.put(images[0])
    working = tmp_path / "working-elsewhere.json"
    working.write_text(json.dumps({"1": 3}))
    ended = box.go()
    assert isinstance(ended, Failed)
    assert "ended the agent's process 3 times" in ended.why
    assert box.hub.log == []


def test_an_image_that_ended_the_process_while_its_result_was_made_is_set_aside_after_three_times(made, images, tmp_path):
    box = made()
    box.put(images[0])
    (tmp_path / "working-elsewhere-told.json").write_text(json.dumps({"1": 3}))
    ended = box.go()
    assert isinstance(ended, Failed)
    assert ended.is_lasting
    assert "ended the agent's process 3 times" in ended.why
    assert len(box.hands.aside.listed()) == 1
    assert box.spool.counts().entries[INSTANCE] == 0


def test_what_the_disk_keeps_in_the_spool_ends_nothing_and_is_tried_again(made, images, monkeypatch):
    def full(number: int, reason: str) -> None:
        raise StoreError("the disk is full")

    box = made(lambda question, count: DONE)
    box.put(b"no image", images[1])
    with monkeypatch.context() as patch:
        patch.setattr(box.spool, "drop", full)
        patch.setattr(box.spool, "defer", full)
        ended = box.hands.work(Lane.ELSEWHERE, box.hands.look(Lane.ELSEWHERE).number)
        assert (ended.is_lasting, ended.number) == (False, 1)
        assert ended.why.endswith("it waits, for it cannot be set aside: the disk is full")
    assert box.spool.counts().entries[INSTANCE] == 2
    box.hands.defer(1, 0.0, ended.why)
    assert box.go().is_lasting
    assert (box.spool.counts().entries[INSTANCE], box.dropped) == (1, ["set aside"])
    assert box.go() == Done(Lane.ELSEWHERE)  # what was taken with it is handed out again


def test_without_a_model_nobody_is_asked(made, images):
    box = made()
    box.hands.desk = lambda: Desk("us-1", None, False, None, Stages(SystemClock()))
    box.put(images[0])
    with pytest.raises(EngineFailed, match="no model"):
        box.hands._others(tuple(box.spool.batch((INSTANCE,), SystemClock().unix())))
    assert box.hands.look(Lane.ELSEWHERE) == Found(Lane.ELSEWHERE, None)
