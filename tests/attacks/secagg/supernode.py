"""`flower-supernode` itself, which waits hundredths of a second where it waits seconds for something to do."""

from __future__ import annotations

import time
from types import SimpleNamespace

from flwr.supernode import start_client_internal
from flwr.supernode.cli import flower_supernode

WAIT_S = 0.2


def main() -> None:
    # between two looks for a message (3 s) or for its answer (.5 s): a run of thirty messages would take minutes
    start_client_internal.time = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, WAIT_S)))  # type: ignore[attr-defined]
    flower_supernode()


if __name__ == "__main__":
    main()
