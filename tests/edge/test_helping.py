from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from fedmed.edge.helping import REST_S, SOON_S, Helping
from fedmed.edge.looking import Model
from fedmed.edge.preparing import recipe_of
from fedmed.errors import EngineFailed, FedmedError, ProtocolRefused, Unreachable
from fedmed.hub.borrowing import Order
from tests.edge.test_looking import CARD, SIZE

X = np.linspace(0, 1, SIZE * SIZE, dtype="<f4").reshape(1, 1, SIZE, SIZE)
FIRST, SECOND = (
    Order("start", "look:us-1:1", 1, CARD.digest, X.nbytes),
    Order("start", "look:us-1:2", 1, CARD.digest, X.nbytes),
)


def look(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.sum((1, 2, 3))[:, None], np.float32)


@dataclass
class Hub:
    """What it wants, and what it heard."""

    orders: list[Order] = field(default_factory=list)
    inputs: dict[str, bytes] = field(default_factory=dict)
    is_wanted: bool = True
    away: FedmedError | None = None
    heard: list[tuple] = field(default_factory=list)
    waits: int = 0

    def work(self, runs, waits):
        if self.away is not None:
            raise self.away
        self.heard.append(("work", [each.task for each in runs], waits))
        return self.is_wanted, self.orders

    def input(self, order):
        if order.task not in self.inputs and self.inputs:
            raise ProtocolRefused("not yours any more")
        return self.inputs.get(order.task, X.tobytes())

    def done(self, order, logits, precision):
        self.heard.append(("done", order.task, np.frombuffer(logits, "<f4").tolist(), precision))
        return True

    def not_done(self, order, outcome, why):
        self.heard.append((outcome, order.task, why))


@dataclass
class Helper:
    hub: Hub
    package: str = CARD.digest
    run: object = look
    wanted: bool = True
    said: list[str] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        model = Model(recipe_of(CARD), "int8", self.run)  # type: ignore[arg-type]
        self.helping = Helping(
            self.hub,
            lambda package: model if package == self.package else None,
            lambda: self.wanted,
            self.told.append,
            lambda: self.hub.waits,
            self.said.append,
        )


def test_what_is_given_is_looked_at_and_told_with_its_precision():
    helper = Helper(Hub([FIRST, SECOND]))
    assert helper.helping.turn() == SOON_S
    value = [pytest.approx(float(X.sum()), rel=1e-6)]
    assert helper.hub.heard == [
        ("work", [], 0),
        ("done", FIRST.task, value, "int8"),
        ("done", SECOND.task, value, "int8"),
    ]
    assert helper.helping.count == 2
    assert helper.told == [True]


def test_nothing_is_asked_while_there_is_nothing_or_this_device_takes_none():
    helper = Helper(Hub([FIRST]), wanted=False)
    assert helper.helping.turn() == REST_S
    assert helper.hub.heard == []


def test_own_images_come_first_and_what_is_not_begun_goes_back():
    def one_comes(x):
        hub.waits = 1
        return look(x)

    hub = Hub([FIRST, SECOND])
    helper = Helper(hub, run=one_comes)
    helper.helping.turn()
    assert [each[:2] for each in hub.heard[1:]] == [("done", FIRST.task), ("given-back", SECOND.task)]
    hub.orders = []
    helper.helping.turn()
    assert hub.heard[-1] == ("work", [], 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (X.tobytes()[:-4], "float32 are"),
        (np.full_like(X, np.nan).tobytes(), "not finite"),
        (np.full_like(X, np.inf).tobytes(), "not finite"),
    ],
)
def test_what_no_input_can_be_is_never_run(content, why):
    def never(x):
        raise AssertionError

    helper = Helper(Hub([FIRST], {FIRST.task: content}), run=never)
    helper.helping.turn()
    assert helper.hub.heard[-1][0] == "failed"
    assert why in helper.hub.heard[-1][2]


def test_another_package_or_an_engine_without_an_answer_is_a_failure_and_the_next_is_looked_at():
    def fails_once(x):
        if not seen:
            seen.append(1)
            raise EngineFailed("out of memory")
        return look(x)

    seen: list[int] = []
    helper = Helper(Hub([FIRST, SECOND]), run=fails_once)
    helper.helping.turn()
    assert [each[:2] for each in helper.hub.heard[1:]] == [("failed", FIRST.task), ("done", SECOND.task)]
    other = Helper(Hub([FIRST]), package="0" * 64)
    other.helping.turn()
    assert other.hub.heard[-1] == ("failed", FIRST.task, "another package is open here by now")


def test_what_is_anothers_by_now_is_passed_over():
    helper = Helper(Hub([FIRST, SECOND], {SECOND.task: X.tobytes()}))
    helper.helping.turn()
    assert [each[0] for each in helper.hub.heard] == ["work", "done"]


def test_what_the_hub_takes_back_is_not_begun():
    class Fails(Hub):
        def input(self, order):
            raise Unreachable("cut")

    hub = Fails([FIRST])
    helper = Helper(hub)
    assert helper.helping.turn() == REST_S
    assert helper.said == ["it cannot look at others' images: cut"]
    hub.orders = [Order("yield", FIRST.task, 1)]
    helper.helping.turn()
    assert hub.heard[1:] == [("work", [FIRST.task], 0), ("given-back", FIRST.task, "as the hub asked")]


def test_a_hub_that_is_away_is_said_once_and_asked_again():
    hub = Hub(away=Unreachable("no route"))
    helper = Helper(hub)
    for _ in range(3):
        assert helper.helping.turn() == REST_S
    assert helper.said == ["it cannot look at others' images: no route"]
    hub.away = None
    hub.orders = [FIRST]
    assert helper.helping.turn() == SOON_S


def test_the_thread_ends_when_it_is_told_to():
    stop = threading.Event()
    thread = threading.Thread(target=Helper(Hub()).helping.keep, args=(stop,))
    thread.start()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
