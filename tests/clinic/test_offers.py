from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from fedmed.clinic import offers
from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.identity.proposal import built_in
from tests.clinic.staff import offer


class Said:
    """A line on which a center says what it likes."""

    def __init__(self, **answer: Any) -> None:
        self.answer, self.asked = answer, list[str]()

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        self.asked.append(f"{method} {path}")
        return 200, self.answer


def test_what_can_be_read_is_listed_and_the_rest_told():
    good = [offer(), offer("rounds=3"), offer(run="another")]
    line = Said(proposals=[*(json.loads(each.content) for each in good), {}, "\x1b[2J", {"kind": "fedmed-proposal"}])
    found = offers.listed(line)  # type: ignore[arg-type]
    assert sorted(each.digest for each in found.found) == sorted(each.digest for each in good)
    assert len(found.faults) == 3
    assert found.the_one("another") == good[2]
    assert found.the_one(f"wards-1@{good[1].digest[:12]}") == good[1]
    with pytest.raises(ConfigError, match="offers 2 runs called 'wards-1'"):
        found.the_one("wards-1")
    with pytest.raises(ProtocolRefused, match="no offer of run 'none' can be read"):
        found.the_one("none")


@pytest.mark.parametrize("answer", [{}, {"proposals": None}, {"proposals": {}}, {"proposals": []}])
def test_a_center_that_offers_nothing(answer):
    found = offers.listed(Said(**answer))  # type: ignore[arg-type]
    assert (found.found, found.faults) == ((), ())
    with pytest.raises(ConfigError, match="it offers nothing"):
        found.the_one("wards-1")


def test_an_app_comes_as_it_was_sent():
    line = Said(app=base64.b64encode(b"content").decode())
    assert offers.fetched(line, built_in()) == b"content"  # type: ignore[arg-type]
    assert line.asked == [f"GET /fedmed/app?digest={built_in().digest}"]
    for answer in ({}, {"app": "***"}, {"app": 7}):
        with pytest.raises(ProtocolRefused, match="sent no app"):
            offers.fetched(Said(**answer), built_in())  # type: ignore[arg-type]
