"""Plain values of a file with the key each stands at, for checks between keys that must not mind what else is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.config.document import Path, dotted

Found = Iterator[tuple[Path, str]]
"""The path of a key that is to be mended, and what to say of it."""
_ABSENT = object()


class BetweenKeys(ValueError):
    """What is wrong between keys of one section, which its model refuses: the path of each key below it, and what to say.

    The reader of a file passes over it and asks for the same faults itself, at once with all others.
    """

    def __init__(self, faults: Sequence[tuple[Path, str]]) -> None:
        super().__init__("; ".join(f"{dotted(path)}: {text}" if path else text for path, text in faults))


@dataclass(frozen=True)
class Written:
    """A value as it is written, or as its absence; what is of another kind than was asked for reads as None.

    What is of another kind has a fault of its own already, so that a check that gets None says nothing more.
    """

    value: Any
    path: Path = ()

    def at(self, key: str) -> Written:
        """The value of `key`, absent where this is no section or has no such key."""
        return Written(self.value.get(key, _ABSENT) if isinstance(self.value, dict) else _ABSENT, (*self.path, key))

    def each(self) -> Iterator[Written]:
        """The items of a list, or the values of a section; none of anything else."""
        if isinstance(self.value, list):
            yield from (Written(item, (*self.path, index)) for index, item in enumerate(self.value))
        elif isinstance(self.value, dict):
            yield from (self.at(key) for key in self.value)

    def named(self) -> dict[str, Written]:
        """Of a list of sections: the first of each `name`."""
        found: dict[str, Written] = {}
        for part in self.each():
            if (name := part.at("name").text()) is not None:
                found.setdefault(name, part)
        return found

    @property
    def is_there(self) -> bool:
        """Whether anything is written; null is nothing."""
        return self.value is not _ABSENT and self.value is not None

    def _or(self, default: Any) -> Any:
        return default if self.value is _ABSENT else self.value

    def text(self, default: str | None = None) -> str | None:
        """The text written, `default` where absent."""
        found = self._or(default)
        return found if isinstance(found, str) else None

    def whole(self, default: int | None = None) -> int | None:
        """The whole number written, `default` where absent."""
        found = self._or(default)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def number(self, default: float | None = None) -> float | None:
        """The number written, `default` where absent."""
        found = self._or(default)
        return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None

    def truth(self, default: bool) -> bool | None:
        """What is written of true and false, `default` where absent."""
        found = self._or(default)
        return found if isinstance(found, bool) else None
