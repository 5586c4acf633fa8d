"""The arm of `twin_peers.py` that is ours: one client after the other, as long as there is no engine of many clients."""

from __future__ import annotations

from benchmarks.twin_peers_arm import Sequential

Engine = Sequential
