"""A disk that leaves one of its calls out."""

from __future__ import annotations

from typing import Any


class Slack:
    def __init__(self, disk: Any, call: str) -> None:
        self._disk, self._call = disk, call

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: None) if name == self._call else getattr(self._disk, name)


def without(disk: Any, call: str) -> Any:
    return Slack(disk, call)
