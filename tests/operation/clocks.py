"""A clock that a test moves."""

from __future__ import annotations


class Hand:
    def __init__(self, start: float = 1000.0) -> None:
        self.at = start

    def now(self) -> float:
        return self.at

    def unix(self) -> float:
        return 1_800_000_000.0 + self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
