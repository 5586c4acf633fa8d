"""What the agent does with what its health says: its own folder, log and hub, and a card that is lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import Edge
from fedmed.edge.agent import Agent
from fedmed.edge.folder import open_edge
from fedmed.edge.machine import Told
from fedmed.edge.wellbeing import wellbeing_of
from fedmed.health.readings import Reading, read
from fedmed.hub.told import told_in
from tests.edge.device import device_of
from tests.hub.clinic import Skewed, serving


@dataclass
class Card:
    name: str = "card"
    reachable: float = 1.0

    def why_not(self) -> None:
        return None

    def is_available(self) -> bool:
        return True

    def read(self) -> list[Reading]:
        return [
            read("gpu_reachable", self.reachable, "gpu0"),
            read("gpu_busy", 0.5, "gpu0"),
            read("gpu_power", None, "gpu0"),
        ]


def test_a_lost_card_ends_the_work_and_stands_in_log_status_heartbeat_and_metrics(tmp_path):
    with serving(tmp_path) as place:
        said: list[str] = []
        agent = Agent(open_edge(device_of(place, "us-1").folder, SystemClock()), said.append)
        card = Card()
        agent.released.begin()
        agent.well.among = [card]
        agent.well.look()
        agent._turn()
        assert agent.running._events.empty()
        assert told_in(agent._facts()).cards == 1
        card.reachable = 0.0
        agent.well.look()
        agent._turn()
        assert agent.running._events.get_nowait() == Told(True)
        assert told_in(agent._facts()).isolated == "gpu0: gpu reachable is 0, below 1"
        assert any("it takes no work: gpu0" in reason for reason in agent._unready())
        assert agent.standing()["health"]["past"] == ["gpu0 gpu-lost"]
        written = b"".join(path.read_bytes() for path in sorted(agent.log.folder.rglob("*")) if path.is_file())
        assert 0 < written.index(b'"action":"alert"') < written.index(b'"action":"stop.work"')
        shown = agent._metrics.exposition().decode()
        assert 'fedmed_gpu_reachable{device="gpu0"} 0.0' in shown
        assert 'fedmed_unsupported{device="gpu0",quantity="gpu_power"} 1.0' in shown
        assert said[-2:] == [
            "critical: gpu0: gpu reachable is 0, below 1",
            "this device takes no work: gpu0: gpu reachable is 0, below 1",
        ]
        agent._closed()


@pytest.mark.parametrize("may", [False, True])
def test_power_is_touched_only_where_the_file_says_so(tmp_path: Path, may: bool):
    config = Edge(name="us-1", hub="127.0.0.1", power_actions=may)
    folder = SimpleNamespace(config=config, path=tmp_path, clock=Skewed())
    made = wellbeing_of(folder, print, print, list, print)
    assert made.switches.may_limit_power is may
    assert made.watch.switches.may_limit_power is may
