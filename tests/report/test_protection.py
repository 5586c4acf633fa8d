from __future__ import annotations

import html
import re

import pytest

from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report import sample

OFF = "Secure aggregation is off: the center saw every site's update, counts and metrics."


def shown(made):
    text = render(Report.model_validate(made))
    return text, " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text.split("<body>")[1])).split())


def test_off_is_the_first_thing_on_the_page_and_red():
    text, words = shown(sample.report())
    assert words.startswith(OFF)
    assert re.search(r'<main>\s*<p class="banner bad" role="alert">', text)
    assert "What the center could learn" not in words


def test_the_weaker_mode_is_named_as_weaker_in_amber():
    text, words = shown(sample.masked("hbc"))
    assert words.startswith("Secure aggregation in mode hbc, which is weaker: the center was trusted")
    assert re.search(r'<main>\s*<p class="banner warn" role="alert">', text)
    assert "sums over at least 3 of 4 sites, if it told every site the same survivors." in words


def test_sums_are_a_quiet_line_with_what_the_center_could_learn():
    text, words = shown(sample.masked())
    assert "banner" not in text.split("<body>")[1]
    assert "What the center could learn: sums over at least 3 of 4 sites." in words
    assert "mode malicious, 32-bit lanes, changes of a weight within ±64 a round" in words
    assert "32 kB out, 21 kB back" in words


def test_a_record_that_does_not_tell_is_not_believed_to_be_private():
    made = sample.report()
    del made["privacy"]
    assert shown(made)[1].startswith("This record does not say whether secure aggregation was on")


def test_what_went_wrong_in_masked_rounds_is_told():
    made = sample.masked()
    made["privacy"] |= {
        "unopened": [{"round": 4, "purpose": "evaluation", "reason": "2 sites revealed"}],
        "left_out": [{"site": "va", "reason": "no answer within 60 s"}],
        "accused": [{"number": 9, "members": [2], "sites": ["hungarian"]}, {"number": 11, "sites": ["hungarian"]}],
    }
    made["rounds"][3]["validation"] = {"sites": {}, "missing": {}, "lacks": ["2 sites revealed"]}
    _, words = shown(made)
    for said in (
        "Round 4: the sum of the evaluations could not be opened, and nothing was learned of it: 2 sites revealed.",
        "va was left out when an epoch of secure aggregation was set up: no answer within 60 s.",
        "Shares that hungarian showed do not fit those of the others: it, or whoever dealt them, is at fault.",
        "No validation in round 4: 2 sites revealed.",
    ):
        assert words.count(said) == 1, said


def test_sites_figures_say_who_measured_them_where_they_stand():
    for made in (sample.masked(), sample.report()):
        _, words = shown(made)
        who = f"measured by {made['evaluated_by']}"
        assert f"dot: value, bar: 95 % interval; {who}" in words
        assert f"All measures, site by site; {who}" in words
    _, words = shown(sample.crowd(20, 3))
    assert "of the federation's model upwards; measured by the simulation's harness" in words


def test_charts_of_sums_have_no_line_of_a_site_and_show_the_error_where_it_can_be_seen():
    text, words = shown(sample.masked())
    charts = text[text.index("How did training go?") : text.index("Who took part")]
    assert 'class="line thin"' not in charts
    assert charts.count('class="band"') == 1
    assert "higher is better; from sums; band: error bound" in words
    exact = sample.masked(error=0.001)
    assert 'class="band"' not in render(Report.model_validate(exact))
    assert "band" not in shown(exact)[1]
    own = render(Report.model_validate(sample.report()))
    assert 'class="line thin"' in own


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            {"choose": "best", "round": 7, "measure": "auc", "value": 0.9124, "error": 0.0041},
            "The model of round 7, chosen by the federation's own validation, from sums (AUC 0.912 ± 0.004).",
        ),
        (
            {"choose": "best", "round": 15, "average_last": 1},
            "No round has a validation to choose by, so that the model is that of round 15, the last.",
        ),
        (
            {"choose": "last", "round": 15, "average_last": 5},
            "The mean of the global models of the last 5 rounds.",
        ),
    ],
)
def test_a_model_that_is_not_the_last_one_is_named(chosen, said):
    assert said in shown(sample.masked() | {"chosen": chosen})[1]
    if chosen.get("value"):
        plain = shown(sample.report() | {"chosen": chosen | {"error": None}})[1]
        assert "by the federation's own validation, the mean of the sites (AUC 0.912)." in plain
