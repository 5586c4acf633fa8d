from __future__ import annotations

import asyncio

from fedmed.center.refusals import MOST, Refusals
from fedmed.store.audit.event import Event, faults_of
from fedmed.store.audit.floods import AGAIN_S
from fedmed.wire.asgi import answer, refuse
from tests.center.federation import Brisk


class Moved(Brisk):
    at = 0.0

    def now(self) -> float:
        return self.at


def made() -> tuple[Refusals, list[Event], Moved]:
    told: list[Event] = []
    clock = Moved()
    return Refusals("study", clock, told.append, frozenset({"/fedmed/members"})), told, clock


def ask(refusals: Refusals, status: int, path: str = "/fedmed/members", certificate: bytes | None = b"one") -> list[int]:
    async def app(scope, receive, send):
        if status >= 400:
            await refuse(send, status, "because")
        else:
            await answer(send, status, b"{}")

    sent: list[int] = []

    async def send(said):
        sent.append(said.get("status", 0))

    async def run():
        extensions = {"fedmed": {"certificate": certificate}}
        await refusals.around(app)({"type": "http", "path": path, "extensions": extensions}, None, send)

    asyncio.run(run())
    return sent


def test_a_refusal_is_written_and_what_was_served_is_not():
    refusals, told, _ = made()
    assert ask(refusals, 200) == [200, 0]
    assert told == []
    assert ask(refusals, 403) == [403, 0]
    (entry,) = told
    assert (entry.action, entry.resource, entry.reason, entry.outcome) == (
        "refuse.request",
        "/fedmed/members",
        "because",
        "refused",
    )
    assert entry.details["code"] == 403
    assert not list(faults_of(entry))


def test_a_flood_is_one_entry_a_minute_with_its_number():
    refusals, told, clock = made()
    for _ in range(500):
        ask(refusals, 403)
    assert len(told) == 1
    clock.at = AGAIN_S
    ask(refusals, 403)
    assert [each.details["number"] for each in told] == [1, 499, 1]


def test_paths_and_peers_that_are_made_up_do_not_fill_the_log():
    refusals, told, _ = made()
    for number in range(50):
        ask(refusals, 404, f"/made/up/{number}")
    assert [each.resource for each in told] == ["another path"]
    for number in range(3 * MOST):
        refusals.note(f"peer {number}", "/fedmed/members", 403, "because")
    assert len(told) <= MOST + 1
