from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store.rolls import Form, RollFile
from fedmed.wire.canonical import canonical, digest
from tests.identity.parties import Standing


class Stage(str, Enum):
    IN = "in"
    OUT = "out"


@dataclass(frozen=True)
class Guest:
    name: str
    stage: Stage
    since: int
    card: bytes


@dataclass(frozen=True)
class Roll:
    guests: MappingProxyType[str, Guest] = field(default_factory=lambda: MappingProxyType({}))
    revoked: frozenset[str] = frozenset()


FORM = Form(
    kind="guests", body="party", rows="guests", make=Roll, entry=Guest, stage=Stage, plain={"name": str, "since": int},
    held=("card",), most=3, most_bytes=1 << 16, whose="guests", folder="the house",
)  # fmt: skip
NAMES = st.from_regex(r"[a-z]{1,9}", fullmatch=True)
GUESTS = st.builds(Guest, NAMES, st.sampled_from(Stage), st.integers(0, 2**31), st.binary(max_size=9))
ROLLS = st.builds(
    lambda guests, revoked: Roll(MappingProxyType({each.name: each for each in guests}), revoked),
    st.lists(GUESTS, max_size=3),
    st.frozensets(st.text("0123456789abcdef", min_size=4, max_size=4), max_size=3),
)


@given(ROLLS)
def test_what_was_written_is_read(roll):
    assert FORM.decoded(Path("a"), FORM.encoded(roll)) == roll


@given(ROLLS, st.data())
def test_no_byte_of_it_can_be_another(roll, data):
    content = bytearray(FORM.encoded(roll))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StoreError, match="put a copy of it back"):
        FORM.decoded(Path("a"), bytes(content))


@pytest.mark.parametrize(
    "guests",
    [
        [{"name": each, "since": 1, "card": "", "stage": "in"} for each in "abcd"],
        [{"name": "A/b", "since": 1, "card": "", "stage": "in"}],
        [{"name": "a", "since": True, "card": "", "stage": "in"}],
        [{"name": "a", "since": 1, "card": "0g", "stage": "in"}],
        [{"name": "a", "since": 1, "card": "", "stage": "else"}],
    ],
)
def test_too_many_and_other_kinds_of_entries_are_not_read_with_a_right_digest(guests):
    body = {"guests": guests, "kind": "guests", "revoked": [], "version": 1}
    with pytest.raises(StoreError, match="put a copy of it back"):
        FORM.decoded(Path("a"), canonical({"party": body, "sha256": digest(body)}) + b"\n")


def test_a_step_that_raises_or_changes_nothing_writes_nothing(tmp_path):
    kept = RollFile(tmp_path / "roll.json", Standing(), FORM)
    kept.create()
    before = kept.path.stat()

    def refused(roll: Roll, now: int) -> tuple[Roll, None]:
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        kept._change(refused)
    assert kept._change(lambda roll, now: (replace(roll), "said")) == "said"
    assert (kept.path.stat().st_ino, kept.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
