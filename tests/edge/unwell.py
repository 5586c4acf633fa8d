"""An agent whose card is lost: `fedmed edge up`, with a reader of health that says so; no test can have one."""

from __future__ import annotations

import sys
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.edge.agent import Agent
from fedmed.edge.folder import open_edge
from fedmed.health.readings import Reading, read


class Lost:
    name = "lost"

    def why_not(self) -> None:
        return None

    def is_available(self) -> bool:
        return True

    def read(self) -> list[Reading]:
        return [read("gpu_reachable", 0.0, "gpu0")]


def main() -> None:
    agent = Agent(open_edge(Path(sys.argv[-1]), SystemClock()), lambda text: print(text, flush=True))
    agent.well.among = [*agent.well.among, Lost()]
    agent.serve()


if __name__ == "__main__":
    main()
