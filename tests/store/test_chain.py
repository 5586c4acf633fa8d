from __future__ import annotations

import json

import pytest

from fedmed.errors import StoreError
from fedmed.store import chain


def test_lines_are_read_back_in_order_and_linked(tmp_path):
    path = tmp_path / "chain.jsonl"
    for number in range(3):
        chain.append(path, {"number": number})
    assert chain.verify(path, lambda body: body["number"]) == [0, 1, 2]
    links = [json.loads(line)["before"] for line in path.read_bytes().splitlines()]
    assert links[0] == chain.FIRST
    assert len(set(links)) == 3
    assert path.with_name("chain.jsonl.head").read_text().startswith("3 ")


def test_bodies_that_are_not_what_they_say_are_named(tmp_path):
    path = tmp_path / "chain.jsonl"
    chain.append(path, {"number": 4})
    with pytest.raises(StoreError, match=r"line 1: it cannot be read \(KeyError\)"):
        chain.verify(path, lambda body: body["other"])
    with pytest.raises(StoreError, match="line 1: it does not have the digest"):
        chain.verify(path, lambda body: body["number"], lambda number: number == 5)


def test_a_file_beyond_the_cap_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "chain.jsonl"
    chain.append(path, {"number": 4})
    monkeypatch.setattr(chain, "MAX_BYTES", 10)
    with pytest.raises(StoreError, match="more than 10 bytes"):
        chain.verify(path, dict)
