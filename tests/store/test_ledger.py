from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store.ledger import Ledger, once, verify


class Fixed:
    """A clock that stands still."""

    def now(self) -> float:
        return 0.0

    def unix(self) -> float:
        return 1.7e9

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a ledger never waits")


def key(number: int) -> tuple[str, str, str]:
    return ("fingerprint", f"data-{number}", "pipeline")


def say(path: Path, number: int, text: str = "statement") -> str | None:
    return once(path, Fixed(), key(number), "run tiny", lambda: (f"{text} {number}", "Dr. Grey"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledgers" / "north.jsonl"


@pytest.fixture
def three(path):
    for number in range(3):
        say(path, number)
    return path


def test_what_left_is_written_down_before_it_leaves(path):
    assert say(path, 1) == "statement 1"
    [entry] = verify(path)
    assert (entry.what, entry.dataset, entry.pipeline) == key(1)
    assert (entry.statement, entry.purpose, entry.approved, entry.unix) == ("statement 1", "run tiny", "Dr. Grey", 1.7e9)


def test_the_same_question_has_the_recorded_answer(path):
    say(path, 1)
    asked = []
    answer = once(path, Fixed(), key(1), "another run", lambda: asked.append(1) or ("something else", "nobody"))
    assert answer == "statement 1"
    assert asked == []
    assert len(verify(path)) == 1
    say(path, 2)
    assert [entry.statement for entry in verify(path)] == ["statement 1", "statement 2"]


def test_what_is_not_approved_leaves_no_line(path):
    assert once(path, Fixed(), key(1), "run tiny", lambda: None) is None
    assert verify(path) == []
    assert say(path, 1) == "statement 1"


def test_a_statement_of_any_text_is_kept(path):
    text = 'a "quoted"\nline\u2028, \u0000 and \U0001f600'
    assert once(path, Fixed(), key(1), "p", lambda: (text, "a")) == text
    assert verify(path)[0].statement == text
    say(path, 2)
    assert len(verify(path)) == 2


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda found: found[:2], "has 2 lines; 3 were written: it has been cut short"),
        (lambda found: [], "has 0 lines; 3 were written"),
        (lambda found: [found[1], found[0], found[2]], "line 1: it does not follow"),
        (lambda found: [found[0], found[2], found[1]], "line 2: it does not follow"),
        (lambda found: [found[0], found[2], found[2]], "line 2: it does not follow"),
        (lambda found: [found[0], found[0], found[1], found[2]], "line 2: it does not follow"),
        (lambda found: [found[0].replace(b"Dr. Grey", b"Dr. Gray"), *found[1:]], "line 2: it does not follow"),
        (lambda found: [*found[:2], found[2].replace(b"Dr. Grey", b"Dr. Gray")], "line 3: it is not the last line"),
        (lambda found: [found[0], found[1].replace(b"statement 1", b"statement 7"), found[2]], "line 2: it does not have"),
        (lambda found: [found[0], b"{}\n", found[2]], "line 2: it cannot be read"),
        (lambda found: [found[0], b" " + found[1], found[2]], "line 2: it does not have the digest"),
    ],
)
def test_whatever_is_done_to_it_is_named(three, spoil, match):
    three.write_bytes(b"".join(spoil(lines(three))))
    with pytest.raises(StoreError, match=match):
        verify(three)
    with pytest.raises(StoreError, match=match):
        say(three, 9)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_changed_byte_passes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ledger") / "north.jsonl"
    for number in range(2):
        say(path, number)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"north\.jsonl"):
        verify(path)


def test_a_line_that_a_kill_left_half_written_is_cut_off_for_nothing_left(three):
    whole = three.read_bytes()
    three.write_bytes(whole + b'{"before":"00')
    assert len(verify(three)) == 3
    say(three, 3)
    assert len(verify(three)) == 4
    assert three.read_bytes().startswith(whole)


def test_a_line_that_a_kill_kept_from_the_head_counts(three):
    head = three.with_name("north.jsonl.head")
    before = head.read_text()
    say(three, 3)
    head.write_text(before)
    assert len(verify(three)) == 4
    say(three, 4)
    assert len(verify(three)) == 5
    assert head.read_text().startswith("5 ")


@pytest.mark.parametrize("content", ["", "3", "three lines", "\udcff"])
def test_a_damaged_head_is_named(three, content):
    three.with_name("north.jsonl.head").write_text(content, errors="surrogateescape")
    with pytest.raises(StoreError, match=r"head cannot be read"):
        verify(three)


def test_a_full_disk_lets_nothing_leave(small_disk):
    path, large = small_disk / "north.jsonl", "x" * 2_000_000
    with pytest.raises(StoreError, match="nothing leaves without it"):
        once(path, Fixed(), key(1), "p", lambda: (large, "a"))
    assert verify(path) == []
    assert say(path, 1) == "statement 1"


def test_a_ledger_is_json_lines(three):
    assert [json.loads(line)["body"]["dataset"] for line in lines(three)] == ["data-0", "data-1", "data-2"]
    assert Ledger(three).find(*key(1)).statement == "statement 1"
    assert Ledger(three).find(*key(7)) is None
