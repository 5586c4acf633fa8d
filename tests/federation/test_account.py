from __future__ import annotations

from fedmed.federation.account import Account


class Heard:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict]] = []

    def say(self, event, **details):
        self.events.append((event, details))


def test_everything_is_passed_on_and_what_the_result_tells_is_kept_across_runs():
    heard = Heard()
    account = Account(heard)
    account.say("epoch", epoch=1, members=4)
    account.say("answered", site="a")
    account.moved(100, 10)
    again = Account(heard, account.record())
    again.say("unopened", round=2, purpose="update", reason="too few")
    again.say("accused", number=3, members=[2], sites=["b"])
    again.moved(7, 5)
    assert [event for event, _ in heard.events] == ["epoch", "answered", "unopened", "accused"]
    assert again.record() == {
        "epoch": [{"epoch": 1, "members": 4}],
        "left-out": [],
        "unopened": [{"round": 2, "purpose": "update", "reason": "too few"}],
        "accused": [{"number": 3, "members": [2], "sites": ["b"]}],
        "bytes": {"down": 107, "up": 15},
    }
    assert account.record()["unopened"] == [], "what a commit holds does not change afterwards"


def test_before_anything_was_said_what_was_moved_before_counts():
    told = Account(Heard()).record()
    assert Account(Heard(), told | {"bytes": {"down": 3, "up": 4}}).record()["bytes"] == {"down": 3, "up": 4}
