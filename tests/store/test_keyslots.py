from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store import keyslots
from fedmed.store.disk import Disk
from fedmed.store.keyslots import BLOCK, SIZE, Header, Record, content, read, write

KEY = b"k" * 32
U64, I64 = st.integers(0, 2**64 - 1), st.integers(-1, 2**63 - 1)
RECORDS = st.none() | st.builds(Record, st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32), U64)
HEADERS = st.builds(Header, st.binary(min_size=16, max_size=16), U64, st.floats(allow_nan=False), I64, RECORDS, I64, RECORDS)
HEADER = Header(bytes(16), 7, 1.5, 3, Record(b"s" * 16, b"S" * 32, 10), 3, Record(b"m" * 16, b"M" * 32, 20))


@given(HEADERS)
def test_a_header_is_read_back(tmp_path_factory, header):
    path = tmp_path_factory.getbasetemp() / "keys"
    path.write_bytes(content(KEY, header))
    assert path.stat().st_size == SIZE
    assert read(path, KEY) == (header, 0)


def test_the_higher_generation_counts_and_then_fills_both_slots(tmp_path):
    path = tmp_path / "keys"
    old, new = content(KEY, HEADER), content(KEY, Header(bytes(16), 8, 2.0))
    path.write_bytes(old[:BLOCK] + new[BLOCK:])
    assert read(path, KEY) == (Header(bytes(16), 8, 2.0), 1)
    path.write_bytes(new[:BLOCK] + old[BLOCK:])
    assert read(path, KEY) == (Header(bytes(16), 8, 2.0), 0)
    write(Disk(), path, KEY, HEADER, 1)
    for half in (path.read_bytes()[:BLOCK], path.read_bytes()[BLOCK:]):
        path.write_bytes(half + bytes(BLOCK))
        assert read(path, KEY) == (HEADER, 0)


def test_a_header_fits_a_sector_and_hides_what_it_says():
    assert keyslots._SEALED <= 512
    whole = content(KEY, HEADER)
    for secret in (b"S" * 8, b"M" * 8, b"s" * 8):
        assert secret not in whole
    assert content(KEY, HEADER) != whole


def test_no_file_or_another(tmp_path):
    with pytest.raises(StoreError, match="mend the disk"):
        read(tmp_path / "none", KEY)
    for bad in (b"", bytes(SIZE), content(KEY, HEADER)[:-1], content(KEY, HEADER) + b"\0", content(b"K" * 32, HEADER)):
        (tmp_path / "keys").write_bytes(bad)
        with pytest.raises(StoreError, match="damaged, or this is not the key"):
            read(tmp_path / "keys", KEY)
