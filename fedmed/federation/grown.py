"""Names and mappings that only grow, each state of which stays as it was: a step of a round costs the same in any cohort.

What follows from a state shares its memory with it, as long as one thing at a time follows (as in a round, where event
follows event); where a second thing follows from the same state, it is copied. The idea is that of a persistent vector's
tail (Bagwell 2001), for a whole that is never read while it is long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

Value = TypeVar("Value")


class Grown(Mapping[str, Value], Generic[Value]):
    """A mapping in order of entry, to which nothing but another name is added."""

    __slots__ = ("_length", "_shared")

    def __init__(self, items: Mapping[str, Value] | None = None) -> None:
        self._shared: dict[str, tuple[int, Value]] = {
            name: (i, value) for i, (name, value) in enumerate((items or {}).items())
        }
        self._length = len(self._shared)

    def also(self, name: str, value: Value) -> Grown[Value]:
        """With one more; `name` is not in it yet."""
        shared = self._shared
        if len(shared) != self._length:  # something else has followed from this state already
            shared = dict(islice(shared.items(), self._length))
        shared[name] = (self._length, value)
        after: Grown[Value] = Grown.__new__(Grown)
        after._shared, after._length = shared, self._length + 1
        return after

    def __contains__(self, name: object) -> bool:
        held = self._shared.get(name)  # type: ignore[call-overload]
        return held is not None and held[0] < self._length

    def __getitem__(self, name: str) -> Value:
        place, value = self._shared[name]
        if place >= self._length:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return islice(iter(self._shared), self._length)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class Names(Sequence[str]):
    """Names in order of entry, each once; equal to a tuple of the same."""

    __slots__ = ("_held",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._held: Grown[None] = Grown(dict.fromkeys(names))

    def also(self, name: str) -> Names:
        """With one more; `name` is not among them yet."""
        after = Names.__new__(Names)
        after._held = self._held.also(name, None)
        return after

    def __contains__(self, name: object) -> bool:
        return name in self._held

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return tuple(self._held)[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Names, tuple)):
            return tuple(self) == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))
