"""What the agent does with what its health says: its own folder, log and hub, and a card that is lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import Edge, Elsewhere
from fedmed.edge.agent import Agent
from fedmed.edge.folder import open_edge
from fedmed.edge.looking import Model
from fedmed.edge.machine import Told
from fedmed.edge.preparing import recipe_of
from fedmed.edge.released import Opened
from fedmed.edge.standing import PAUSED
from fedmed.edge.wellbeing import wellbeing_of
from fedmed.health.readings import Reading, read
from fedmed.hub.looks import NOW, ON
from fedmed.hub.told import told_in
from tests.edge.device import device_of
from tests.edge.test_looking import CARD
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


def test_images_go_elsewhere_only_where_file_hub_model_and_need_agree(tmp_path):
    with serving(tmp_path) as place:
        box = device_of(place, "us-1", elsewhere=Elsewhere(asks=True, after=1))
        agent = Agent(open_edge(box.folder, SystemClock()), list)
        agent._keep(b"first", {})
        agent._keep(b"second", {})
        assert agent._asks_others() == ""  # neither a model nor a word of the hub
        agent.released.begin()
        agent.released._active = Opened(0, Model(recipe_of(CARD), "fp32", lambda x: x))
        assert agent._asks_others() == ""
        agent.hub.elsewhere = ON
        assert agent._asks_others() == "more images wait than 1"
        agent._turn()
        events = [agent.running._events.get_nowait() for _ in range(3)]
        assert events[-1] == Told(False, asks_others=True)
        assert told_in(agent._facts()).asks
        assert agent.standing()["elsewhere"] == {"why": "more images wait than 1", "by": {}, "for_others": 0}
        (box.folder / PAUSED).touch()
        assert agent._asks_others() == ""
        assert not agent._helps()
        (box.folder / PAUSED).unlink()
        agent.hub.elsewhere = NOW
        assert agent._helps()
        agent.well._isolated = {("gpu-lost", "gpu0"): "gpu0: lost"}
        assert agent._asks_others() == "it takes no work: gpu0: lost"
        assert not agent._helps()
        assert agent.released.lent(CARD.digest) is not None
        assert agent.released.lent("0" * 64) is None
        agent.released._active = None
        agent._closed()


def test_a_device_asks_nobody_before_its_file_says_so(tmp_path):
    with serving(tmp_path) as place:
        agent = Agent(open_edge(device_of(place, "us-1").folder, SystemClock()), list)
        agent.released.begin()
        agent.released._active = Opened(0, Model(recipe_of(CARD), "fp32", lambda x: x))
        agent.hub.elsewhere = ON
        agent.well._isolated = {("gpu-lost", "gpu0"): "gpu0: lost"}
        assert agent._asks_others() == ""
        agent.released._active = None
        agent._closed()


def test_a_spool_that_cannot_be_read_now_and_a_thread_that_ends_are_told_and_end_no_agent(tmp_path):
    with serving(tmp_path) as place:
        said: list[str] = []
        box = device_of(place, "us-1", elsewhere=Elsewhere(asks=True, after=1))
        agent = Agent(open_edge(box.folder, SystemClock()), said.append)
        agent.released.begin()
        agent.released._active = Opened(0, Model(recipe_of(CARD), "fp32", lambda x: x))
        agent.hub.elsewhere = ON
        threads = dict(agent._beside())
        assert set(threads) == {"releases", "ladder", "health", "helping"}
        agent._told_of("helping", "KeyError")
        assert "'helping' ended by a fault (KeyError)" in said[-1]
        assert said[-1] == agent.standing()["said"][-1]["text"]
        agent.spool.close()
        agent._turn()
        assert "this spool was closed" in said[-1]


@pytest.mark.parametrize("may", [False, True])
def test_power_is_touched_only_where_the_file_says_so(tmp_path: Path, may: bool):
    config = Edge(name="us-1", hub="127.0.0.1", power_actions=may)
    folder = SimpleNamespace(config=config, path=tmp_path, clock=Skewed())
    made = wellbeing_of(folder, print, print, list, print)
    assert made.switches.may_limit_power is may
    assert made.watch.switches.may_limit_power is may
