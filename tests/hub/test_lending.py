"""Looks over real ports: two devices and a hub, none of which looks at an image by itself."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from fedmed.errors import FederationError, ProtocolRefused, QuotaRefused
from fedmed.hub.borrowing import PIECE, Borrowing, Order, Question, Stand
from fedmed.hub.client import HubClient
from fedmed.hub.looks import LOOK_S, MOST_FAILURES, MOST_OPEN, MOST_TENSOR, digest_of
from fedmed.hub.messages import Message
from fedmed.hub.placing import CENTER
from fedmed.placement.choosing import Why
from fedmed.placement.moving import Work
from fedmed.placement.state import Grant
from fedmed.placement.tasks import Amount, Rung
from fedmed.placement.told import reasons, task_rows
from tests.hub.clinic import Place, Skewed, serving
from tests.hub.test_placing import FACTS

PACKAGE, OTHER = "a" * 64, "b" * 64
INPUT = bytes(range(256)) * (2 * PIECE // 256) + b"tail"
"""Three pieces."""


class Moved(Skewed):
    """A clock whose seconds a test adds to."""

    def now(self) -> float:
        return super().now() + self.by


def facts(package: str = PACKAGE, isolated: str = "", waits: int = 0, helps: bool = True) -> dict:
    active = {"name": "skin", "version": "2", "precision": "int8", "digest": package}
    spool = {"entries": {"study": 0, "instance": waits}}
    return {**FACTS, "models": {"active": active}, "spool": spool, "health": {"isolated": isolated}, "helps": helps}


class Box:
    """A device that a test plays."""

    def __init__(self, place: Place, name: str, **told) -> None:
        self.name, self.client = name, HubClient(place.joined(name))
        self.line = Borrowing(self.client)
        self.beat(**told)

    def beat(self, **told) -> str:
        return self.client.beat("up", facts(**told)).elsewhere

    def orders(self, *runs: Order, waits: int = 0) -> list[Order]:
        return self.line.work(runs, waits)[1]

    def only(self, *runs: Order, waits: int = 0) -> Order:
        [order] = self.orders(*runs, waits=waits)
        return order


@pytest.fixture
def place(tmp_path):
    with serving(tmp_path, Moved()) as found:
        yield found


@pytest.fixture
def boxes(place):
    made = Box(place, "us-1", isolated="gpu0: hot"), Box(place, "us-2"), Box(place, "us-3")
    place.hub.look()
    yield made
    for each in made:
        each.client.close()


def row(place: Place, of: str = "us-1"):
    [found] = [each for each in task_rows(place.hub.whereabouts.placed.state) if each.name.startswith(f"look:{of}:")]
    return found


def by_name(boxes, name: str) -> Box:
    return next(each for each in boxes if each.name == name)


def test_an_image_is_looked_at_elsewhere_and_the_answer_comes_back(place, boxes):
    asker, first, _ = boxes
    assert first.beat() == "on"
    question = Question(PACKAGE, INPUT)
    assert asker.line.ask(question).state == "running"
    assert first.beat() == "now"
    shown = row(place)
    helper = by_name(boxes, *shown.where)
    assert (shown.status, shown.how, shown.attempt) == ("running", "cpu int8 batch 1", 1)
    assert reasons(place.hub.whereabouts.placed.state, shown.name)["us-1"] == Why.ASKER.value
    order = helper.only()
    assert (order.do, order.package, order.attempt) == ("start", PACKAGE, 1)
    assert helper.line.input(order) == INPUT
    logits = bytes(PIECE + 4)
    assert helper.line.done(order, logits, "int8")
    stand = asker.line.ask(question)
    assert (stand.state, stand.by, stand.precision) == ("done", helper.name, "int8")
    assert bytes(question.answer) == logits
    again = Question(PACKAGE, INPUT)  # its agent was killed before it wrote that down
    assert asker.line.ask(again).state == "done"
    assert bytes(again.answer) == logits
    assert not helper.line.done(order, logits, "int8")
    asker.line.unask(question)
    assert place.hub.lending._looks == {}
    assert place.hub.standing()["elsewhere"] == {"us-1": {"answered": 1, "asked": 1}}
    shown = place.hub._metrics.exposition().decode()
    assert 'fedmed_looks_total{what="answered"} 1.0' in shown
    assert "us-1" not in "".join(line for line in shown.splitlines() if "looks" in line)


def test_a_node_that_dies_loses_its_look_to_another_within_three_minutes(place, boxes):
    asker = boxes[0]
    question = Question(PACKAGE, INPUT)
    asker.line.ask(question)
    dead = by_name(boxes, *row(place).where)
    other = next(each for each in boxes[1:] if each is not dead)
    order = dead.only()
    died = place.clock.now()
    while row(place).where != (other.name,):
        place.clock.by += 10.0
        other.beat()
        assert asker.line.ask(question).state in ("running", "waiting")
        place.hub.look()
    assert place.clock.now() - died < 180
    newer = other.only()
    assert newer.attempt == 2
    assert not dead.line.done(order, b"late", "int8")  # it comes back with what was given to another
    assert other.line.done(newer, b"good", "int8")
    asker.line.ask(question)
    assert bytes(question.answer) == b"good"


def test_a_hub_that_is_started_anew_takes_the_answer_that_was_under_way_and_no_older_one(place, boxes):
    asker = boxes[0]
    question = Question(PACKAGE, INPUT)
    asker.line.ask(question)
    helper = by_name(boxes, *row(place).where)
    order = helper.only()
    place.again()
    place.hub.look()
    assert asker.line.ask(Question(PACKAGE, INPUT)).state == "waiting"
    assert helper.line.done(order, b"good", "int8")
    assert asker.line.ask(question).state == "done"
    assert bytes(question.answer) == b"good"


def test_a_hub_that_is_started_anew_gives_out_newer_attempts_alone(place, boxes):
    asker = boxes[0]
    asker.line.ask(Question(PACKAGE, INPUT))
    helper = by_name(boxes, *row(place).where)
    order = helper.only()
    place.again()
    for each in boxes:
        each.beat(isolated="hot" if each is asker else "")
    place.hub.look()
    place.clock.by += 11.0
    question = Question(PACKAGE, INPUT)
    assert asker.line.ask(question).state == "running"
    assert row(place).attempt == 2
    assert not helper.line.done(order, b"old!", "int8")
    again = by_name(boxes, *row(place).where)
    assert again.line.done(again.only(), b"good", "int8")
    asker.line.ask(question)
    assert bytes(question.answer) == b"good"


def test_a_devices_own_images_come_first_and_what_it_borrowed_goes_elsewhere(place, boxes):
    asker = boxes[0]
    question = Question(PACKAGE, INPUT)
    asker.line.ask(question)
    helper = by_name(boxes, *row(place).where)
    other = next(each for each in boxes[1:] if each is not helper)
    order = helper.only()
    assert helper.only(order, waits=3).do == "yield"
    helper.line.not_done(order, "given-back", "an image of its own came")
    assert row(place).where == (other.name,)
    assert other.only().attempt == 2
    assert helper.orders(waits=3) == []
    place.hub.look()
    assert [
        each.status for each in task_rows(place.hub.whereabouts.placed.state) if each.name == f"images:{helper.name}"
    ] == ["running"]


def test_without_a_place_it_waits_and_the_reason_is_told(place, boxes):
    asker, first, second = boxes
    first.beat(package=OTHER)
    second.beat(helps=False)
    place.hub.look()
    stand = asker.line.ask(Question(PACKAGE, INPUT))
    assert stand.state == "waiting"
    assert "without its data" in stand.why
    for each in place.hub.whereabouts.placed.state.nodes:
        assert each not in row(place).where
    first.beat()
    place.hub.look()
    assert row(place).where == ("us-2",)


def test_the_center_is_never_a_place_even_where_it_has_the_release(place, boxes):
    asker, *others = boxes
    for each in others:
        each.beat(package=OTHER)
    place.hub.look()
    nodes = place.hub.whereabouts.placed.state.nodes
    center = replace(nodes[CENTER].node, capacity=Amount(64_000, 10**12), data=frozenset((f"release:{PACKAGE}",)))
    nodes[CENTER] = replace(nodes[CENTER], node=center, isolated="")
    assert asker.line.ask(Question(PACKAGE, INPUT)).state == "waiting"
    place.hub.look()
    assert row(place).where == ()
    assert reasons(place.hub.whereabouts.placed.state, row(place).name)[CENTER] == Why.OUTSIDE.value
    work = Work(place.hub.whereabouts.placed.state.copied())
    faulty = Grant(work.state.waiting[row(place).name].held, (CENTER,), ("cpu",), (Amount(),), Rung(), 0.0, 0.0, "a fault")
    with pytest.raises(FederationError, match="its clinic north alone"):
        work.seat(faulty)


def test_what_nobody_answers_goes_on_to_the_next_and_at_last_is_said_to_have_failed(place, boxes):
    asker = boxes[0]
    question, seen = Question(PACKAGE, INPUT), []
    for _ in range(3):
        asker.line.ask(question)
        seen.append(row(place).where)
        place.clock.by += LOOK_S + place.folder.config.beat_s + 1
        for each in boxes:
            each.beat(isolated="hot" if each is asker else "")
        place.hub.look()
    stand = asker.line.ask(question)
    assert stand.state == "failed"
    assert "no answer within 80 s" in stand.why
    assert seen[0] != seen[1]


def test_an_image_that_nobody_survives_is_given_out_no_more_and_one_that_is_given_back_is(place, boxes):
    asker, other = boxes[0], boxes[1]
    boxes[2].beat(helps=False)
    place.hub.look()
    kills, waits = Question(PACKAGE, INPUT), Question(PACKAGE, b"busy")
    for number in range(MOST_FAILURES):
        assert asker.line.ask(kills).state == "running", number
        place.again()
        asker.beat(isolated="hot")
        other.beat()
        place.hub.look()
        place.clock.by += 11.0
    assert asker.line.ask(kills) == Stand("failed", why="6 had it, and none of them answered")
    for _ in range(MOST_FAILURES + 2):
        asker.line.ask(waits)
        other.line.not_done(other.only(), "given-back", "images of its own")
        asker.line.unask(waits)
    assert asker.line.ask(waits).state == "running"


def test_no_more_than_a_tiers_share_is_ever_taken(tmp_path):
    with serving(tmp_path, elsewhere={"places": "devices", "share": 0.25}) as place:
        asker, *helping = (Box(place, name, isolated="hot" if name == "us-1" else "") for name in ("us-1", "us-2", "us-3"))
        place.hub.look()
        for number in range(MOST_OPEN):
            asker.line.ask(Question(PACKAGE, number.to_bytes(4, "big")))
        rows = [each for each in task_rows(place.hub.whereabouts.placed.state) if each.name.startswith("look:")]
        assert len(rows) == MOST_OPEN
        running = [each for each in rows if each.status == "running"]
        assert len(running) == 4  # of eighteen cores
        assert any(Why.QUOTA.value in each.why for each in rows if each not in running)  # one stands for those like it
        with pytest.raises(QuotaRefused, match="as many as it may"):
            asker.line.ask(Question(PACKAGE, b"more"))
        for each in (asker, *helping):
            each.client.close()


BAD: list[tuple[dict, str]] = [
    ({"package": OTHER}, "asks for its own package"),
    ({"task": "0" * 64}, "another digest"),
    ({"task": "../../etc"}, "task is"),
    ({"size": MOST_TENSOR + 1}, "size is"),
    ({"size": 3}, "4 to"),
    ({"size": 5}, "of an input"),
    ({"offset": -1}, "offset is"),
    ({"from": True}, "from is"),
]


def test_a_question_that_no_device_asks_is_refused_by_name(place, boxes):
    content = b"12345678"
    task = digest_of(PACKAGE, hashlib.sha256(content).hexdigest())
    good = {"package": PACKAGE, "task": task, "size": len(content), "offset": 0, "from": 0}
    for head, said in BAD:
        with pytest.raises(ProtocolRefused, match=said):
            boxes[0].client.call("ask", {**good, **head}, content)
        assert place.hub.lending._looks == {}


def test_a_device_is_given_and_may_answer_what_is_its_own_alone(place, boxes):
    asker = boxes[0]
    asker.line.ask(Question(PACKAGE, INPUT))
    helper = by_name(boxes, *row(place).where)
    other = next(each for each in boxes[1:] if each is not helper)
    order = helper.only()
    for box, attempt in ((other, 1), (helper, 2), (asker, 1)):
        stolen = Order("start", order.task, attempt, PACKAGE, order.size)
        with pytest.raises(ProtocolRefused, match="is not"):
            box.line.input(stolen)
        assert not box.line.done(stolen, b"lies", "int8")
        box.line.not_done(stolen, "failed", "a lie")
    assert other.only(Order("start", order.task, 1)).do == "stop"
    assert row(place).where == (helper.name,)
    with pytest.raises(ProtocolRefused, match="logits"):
        helper.client.call("answer", {**_head(order), "size": 4, "offset": 0}, b"too long")
    with pytest.raises(ProtocolRefused, match="precision is"):
        helper.client.call("answer", {**_head(order), "size": 4, "offset": 0, "precision": "int4"}, b"1234")


def _head(order: Order) -> dict:
    return {"task": order.task, "attempt": order.attempt, "outcome": "done", "why": "", "precision": "int8"}


def test_what_is_not_asked_for_any_more_is_given_up_and_whoever_looks_is_told_to_stop(place, boxes):
    asker = boxes[0]
    question = Question(PACKAGE, INPUT)
    asker.line.ask(question)
    helper = by_name(boxes, *row(place).where)
    order = helper.only()
    asker.line.unask(question)
    assert helper.only(order).do == "stop"
    asker.line.ask(question)
    for _ in range(2):
        place.clock.by += 100.0
        place.hub.look()
    assert place.hub.lending._looks == {}
    assert place.hub.lending.word == "now"
    place.clock.by += 300.0
    place.hub.look()
    assert place.hub.lending.word == "on"


def test_an_answer_that_is_none_is_asked_of_another(place, boxes):
    asker = boxes[0]
    question, seen = Question(PACKAGE, INPUT), []
    for _ in range(2):
        assert asker.line.ask(question).state == "running"
        liar = by_name(boxes, *row(place).where)
        assert liar.line.done(liar.only(), b"lies", "int8")
        assert asker.line.ask(question).by == liar.name
        asker.line.unask(question, is_refused=True)
        seen.append(liar.name)
    assert sorted(seen) == ["us-2", "us-3"]
    assert asker.line.ask(question).state == "waiting"
    assert place.told[-1].startswith("device us-1 takes no answer of us-")


def test_a_clinic_that_wants_none_of_it_places_nothing(tmp_path):
    with serving(tmp_path, elsewhere={"places": "none"}) as place:
        box = Box(place, "us-1")
        assert box.beat() == "off"
        with pytest.raises(ProtocolRefused, match="places: none"):
            box.line.ask(Question(PACKAGE, INPUT))
        box.client.close()


def test_an_answer_whose_hub_counts_wrongly_is_refused(place, boxes):
    class Lying(HubClient):
        def call(self, method, head, body=b""):
            return Message({"state": "done", "by": "x", "precision": "int8", "size": 4, "offset": 2}, b"1234")

    lying = Lying(boxes[0].client.folder)
    with pytest.raises(ProtocolRefused, match="of an answer"):
        Borrowing(lying).ask(Question(PACKAGE, INPUT))
    lying.close()


def test_half_an_answer_of_who_says_no_more_is_not_held_for_ever(place, boxes):
    asker, *others = boxes
    question = Question(PACKAGE, INPUT)
    asker.line.ask(question)
    helper = by_name(others, *row(place).where)
    order = helper.only()
    told = {"task": order.task, "attempt": order.attempt, "outcome": "done", "why": "", "precision": "int8"}
    half = {**told, "size": 2 * PIECE, "offset": 0}
    assert helper.client.call("answer", half, bytes(PIECE)).head["state"] == "more"
    place.hub.lending.tend()
    assert len(place.hub.lending._coming) == 1  # the rest may come
    asker.line.unask(question)
    place.hub.lending.tend()
    assert place.hub.lending._coming == {}
