from __future__ import annotations

import html
import re

import pytest

from fedmed.report.own_gain import render, sentence
from fedmed.store.gains import Gain
from fedmed.wire.asides import Aside
from tests.report.test_page import browse


def gain(*auc: float | None, cases: int = 40, first: int = 0) -> Gain:
    seen = (Aside(first + number, cases, {"auc": value, "loss": 0.7 - 0.05 * number}) for number, value in enumerate(auc))
    return Gain(f"skin@{'ab' * 32}", tuple(seen), 1.8e9)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (gain(0.5, 0.6, 0.8125), "AUC 0.500 as it began, 0.812 after round 2, on 40 own test cases: better by 0.312."),
        (gain(0.8, 0.7, cases=1), "AUC 0.800 as it began, 0.700 after round 1, on 1 own test case: worse by 0.100."),
        (gain(0.8, 0.8), "AUC 0.800 as it began, 0.800 after round 1, on 40 own test cases: no different."),
        (gain(0.5, 0.6, first=4), "AUC 0.500 after round 4, 0.600 after round 5, on 40 own test cases: better by 0.100."),
        (gain(None, 0.6), "AUC – as it began, 0.600 after round 1, on 40 own test cases."),
        (gain(0.5), "AUC 0.500 on 40 own test cases after round 0; a gain can be told once a second model was seen."),
    ],
)
def test_in_a_sentence(found, told):
    assert sentence(found) == told


def test_what_staff_looks_for_is_on_the_page():
    page = render(gain(0.5, None, 0.8), "north", "study")
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for each in (
        "What skin was worth here",
        "skin@abababababab",
        "better by 0.300",
        "After round",
        "1 – 0.650 40",
        "sent to nobody",
    ):
        assert each in text
    assert page.count("<svg") == 2


def test_names_cannot_break_out_of_the_page():
    page = render(gain(0.5, 0.6), "<script>x</script>", "\x1b[2J")
    assert "<script>" not in page
    assert "\x1b" not in page


def test_it_is_shown_by_a_browser(tmp_path):
    found, said = browse(
        tmp_path, {f"{width}": (render(gain(0.5, 0.6, 0.8), "north", "study"), width) for width in (390, 1280)}
    )
    assert said == ""
    for seen in found.values():
        assert seen["overflow"] <= 0
        assert (seen["active"], seen["requests"]) == (0, 0)
        assert seen["smallest"] >= 10.5
