"""Who a run begins with: members that are online and answer for it; the others are named, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fedmed.clock import Clock
from fedmed.config.scenario import Scenario
from fedmed.flower.keys import DESCRIBE
from fedmed.flower.transport import Transport
from fedmed.learning import plan as planning
from fedmed.learning.order import text_of

AGAIN_S = 10.0
"""Until a member that said no is asked again: its staff may have approved the run by then."""
LOOK_S = 0.5
ANSWER_S = 60.0
PATIENCE_S = 60.0
"""For which a run that has its least number of clinics waits for the others."""


@dataclass
class Assembly:
    """Members come in, one by one."""

    transport: Transport
    scenario: Scenario
    members: Mapping[int, str]
    """Node -> name, of all that are members now."""
    least: int
    clock: Clock
    say: Callable[[str], None]
    """Told who is waited for, whenever that changes."""
    ready: dict[int, str] = field(default_factory=dict)
    _refused: dict[int, tuple[float, str]] = field(default_factory=dict)
    _told: str = ""

    def gather(self, is_over: Callable[[], bool]) -> Mapping[int, str]:
        """Nodes and names to begin with: everybody, or the least number once the others have had time; none when stopped."""
        enough_since: float | None = None
        while not is_over():
            self._ask()
            if len(self.ready) == len(self.members):
                return self.ready
            if len(self.ready) >= self.least:
                enough_since = self.clock.now() if enough_since is None else enough_since
                if self.clock.now() - enough_since >= PATIENCE_S:
                    return self.ready
            else:
                enough_since = None
            self._tell()
            self.clock.sleep(LOOK_S)
        return {}

    def why(self) -> str:
        """Who is waited for, and what for."""
        awaited = self.members.keys() - self.ready.keys() - self._refused.keys()
        online = awaited & set(self.transport.nodes())
        said = [f"{self.members[node]}: {reason}" for node, (_, reason) in sorted(self._refused.items())]
        parts = [
            f"{what}: {', '.join(sorted(self.members[node] for node in nodes))}"
            for what, nodes in (("offline", awaited - online), ("to say what they hold", online))
            if nodes
        ] + said
        return f"{len(self.ready)} of {len(self.members)} clinics are ready; {'; '.join(parts)}"

    def _tell(self) -> None:
        if (why := self.why()) != self._told:
            self.say(why)
            self._told = why

    def _ask(self) -> None:
        online = set(self.transport.nodes()) & self.members.keys()
        for node in self.ready.keys() - online:
            del self.ready[node]
        for node in self._refused.keys() - online:
            del self._refused[node]
        now = self.clock.now()
        due = [node for node in online - self.ready.keys() if self._refused.get(node, (0.0, ""))[0] <= now]
        if not due:
            return
        self._tell()
        answers = self.transport.ask(DESCRIBE, due, text_of(planning.inquiry(self.scenario)), ANSWER_S)
        for node in due:
            reply = answers.get(node)
            if reply is not None and reply.error is None:
                self.ready[node] = self.members[node]
                self._refused.pop(node, None)
            else:
                reason = f"no answer within {ANSWER_S:g} s" if reply is None else reply.error or ""
                self._refused[node] = self.clock.now() + AGAIN_S, reason[:300]
