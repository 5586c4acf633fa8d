from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.report.departures import render, write_page
from fedmed.report.sendings import verdict
from fedmed.store.ledger import Entry
from fedmed.store.ledgers import Checked, Clinic
from tests.report.test_page import browse
from tests.store.test_departures import departure

NOW = 1.8e9
PLAIN = {"epsilon": None, "delta": None, "noise": None, "clip": None}


def clinic(*sent, told=(), name="north"):
    return Clinic(name, (Checked(Path("north.departures.jsonl"), len(sent), "ab" * 32),), sent, told)


def statement(**changes):
    made = {"what": "fingerprint", "sha256": "cd" * 32, "dataset": "d", "pipeline": "p", "purpose": "run tiny"}
    return Entry(**{**made, "approved": "Dr. Grey", "unix": 1.7e9, "statement": "counts", **changes})


def words(*clinics):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", render(clinics, NOW))).split())


def said(one):
    return {tone: " ".join(sentences) for tone, sentences in verdict(one)}


def test_what_an_officer_looks_for_is_there():
    text = words(clinic(*(departure(n, limit=2.0) for n in range(1, 4))))
    for each in (
        "What left clinic north",
        "2023-11-14 22:14 to 2023-11-14 22:16 UTC",
        "chest films",
        "3 sendings left, 996 B in all.",
        "at least 3 with this one",
        "at least 4 clinics have signed",
        "no image, no count of cases and no metric left in readable form",
        "ab" * 32,
        "Name Role Date Signature",
        "stem.weight 8×1×3×3",
        "examples 3 numbers",
        "Run run-1 of federation thorax, 6 clinics, masks malicious",
        "2023-11-14 22:15 2 1.2 update 332 5 4 ≥ 3 1.25 1 0.004 0.2",
    ):
        assert each in text, each


def test_a_sending_that_carries_an_earlier_update_says_so():
    text = words(clinic(departure(1), departure(2, carried=(1, 1)), departure(3)))
    assert "2023-11-14 22:15 2 1.2 update 332 5 4 ≥ 3 round 1 1.25" in text
    assert "Sum Carries Norm" in text
    assert "Sum Carries Norm" not in words(clinic(departure(1)))


def test_a_layout_is_told_once_and_another_one_apart():
    sent = [departure(n) for n in range(1, 5)]
    sent.append(departure(5, purpose="evaluation", tensors=(), fields=(("histogram", 1024),), layout_sha256="e" * 64))
    text = words(clinic(*sent))
    assert text.count("stem.weight") == 1
    assert "4 sendings of 332 bytes" in text
    assert "Evaluation 1 sending of 332 bytes: 1,024 numbers" in text


@pytest.mark.parametrize("changes", [{"mode": "off"}, {"mode": "none of ours"}, {"least": 2}, {"least": 0}])
def test_no_comfort_is_said_of_what_left_without_masks(changes):
    one = clinic(departure(1), departure(2, **PLAIN), departure(3, **{**PLAIN, **changes}))
    found = said(one)
    assert found["bad"].startswith("1 of 3 sendings ")
    assert "good" not in found
    text = words(one)
    for comfort in ("under masks", "no image", "no metric", "come off only"):
        assert comfort not in text
    assert 'class="verdict bad"' in render([one], NOW)


def test_the_weaker_mode_and_missing_signatures_are_said():
    assert "weaker mode hbc" in said(clinic(departure(1, mode="hbc")))["warn"]
    assert "have signed" not in said(clinic(departure(1, mode="hbc")))["good"]
    assert "needed no other clinic's signature" in said(clinic(departure(1, quorum=0)))["warn"]
    assert "warn" not in said(clinic(departure(1)))


def test_a_statement_in_readable_form_takes_the_comfort_back():
    found = said(clinic(departure(1), told=(statement(),)))["good"]
    assert "1 statement left in readable form (fingerprint)" in found
    assert "By this record no image" not in found
    assert "Apart from that" in found
    assert "Dr. Grey" in words(clinic(departure(1), told=(statement(),)))
    assert "Apart from that" not in said(clinic(departure(1, mode="off"), told=(statement(),)))["plain"]


def test_privacy_is_held_against_the_limit():
    under = words(clinic(departure(3, limit=2.0)))
    assert "chest films 0.3 2" in under
    assert "over the limit" not in under
    over = clinic(departure(1, limit=2.0), departure(2, epsilon=2.5, limit=2.0))
    assert "epsilon 2.5 was spent, more than the limit of 2" in said(over)["bad"]
    assert "2.5: over the limit" in words(over)
    assert "1 sending left without a charge" in said(clinic(departure(1), departure(2, **PLAIN)))["warn"]
    none = clinic(departure(1, **PLAIN))
    assert "No differential privacy was in force" in said(none)["good"]
    assert "Privacy spent" not in words(none)


def test_nothing_is_said_to_be_nothing():
    assert said(clinic()) == {"good": "Nothing left this clinic."}
    assert "Nothing left this clinic." in words(clinic())


def test_several_clinics_have_a_part_and_a_signature_each():
    text = words(clinic(departure(1)), clinic(departure(1), name="south"))
    assert text.count("Signature") == 2
    assert "What left clinic south" in text


HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e&\"'</style>\x00"


def hostile():
    sent = departure(1, federation=HOSTILE, run=HOSTILE, dataset=HOSTILE, tensors=((HOSTILE, (2,)),), fields=((HOSTILE, 1),))
    spoken = statement(what=HOSTILE, purpose=HOSTILE, approved=HOSTILE)
    return clinic(sent, departure(2, mode=HOSTILE, dataset=HOSTILE, epsilon=9.0, limit=1.0), told=(spoken,), name=HOSTILE)


def test_a_hostile_name_is_text():
    page = render([hostile()], NOW)
    tags = set(re.findall(r"<([a-zA-Z]+)", page))
    assert tags.isdisjoint({"script", "link", "img", "image", "iframe", "object", "embed", "a", "use", "form", "base"})
    assert not re.search(r"<[^>]*\s(src|href|style|on\w+)=", page)
    assert not set(page) & {"\x1b", "\x00", "\u202e"}
    assert "&lt;script&gt;alert(1)" in page
    assert r"\x1b[2J\u202e" in page
    assert page.count("</style>") == 1
    assert "default-src 'none'" in page


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=30), st.text(max_size=30), st.none() | st.floats(0, 1e9), st.integers(0, 10**6))
def test_any_departure_is_drawn(name, mode, number, count):
    one = clinic(departure(1, run=name, mode=mode, norm=number, epsilon=number, limit=number, least=count, quorum=count))
    page = render([one], NOW)
    assert page.count("<article>") == page.count("</article>") == 1
    page.encode("utf-8")


def test_a_real_browser_shows_it_without_requests_or_complaint(tmp_path):
    many = clinic(*(departure(n, limit=9.0) for n in range(1, 80)))
    pages = {"hostile": (render([hostile()], NOW), 900), "many": (render([many], NOW), 900)}
    found, complaints = browse(tmp_path, pages)
    assert complaints == ""
    for name, seen in found.items():
        assert seen["overflow"] <= 0, name
        assert (seen["active"], seen["requests"]) == (0, 0), name
        assert seen["background"] == "rgb(255, 255, 255)", name  # the style sheet passed the page's own policy


def test_a_page_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        write_page([clinic()], tmp_path / "none" / "page.html", NOW)
