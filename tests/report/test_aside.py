from __future__ import annotations

from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report.sample import HOSTILE, aside, report

SERIES = "2.25.129020498792663392503287060890010380699"


def page(found: dict) -> str:
    return render(Report.model_validate(found))


def test_a_run_that_trusted_everything_says_nothing_of_it():
    assert "set aside" not in page(report())


def test_every_series_is_named_with_its_reason_and_counted():
    found = report()
    gone = [
        aside(SERIES, "missing-slices", "Slices are missing between those that are there."),
        aside("a.dcm", "truncated", "Short."),
    ]
    found["set_aside"] = {"va": gone, "cleveland": [aside(SERIES + "1", "truncated", "Short.")]}
    text = page(found)
    assert "3 at 2 sites could not be trusted: 2 truncated, 1 missing-slices" in text
    for each in gone:
        assert each["what"] in text
        assert each["sentence"] in text
    assert "<details open" in text.split("What was set aside?")[1]


def test_many_are_folded_away():
    found = report()
    found["set_aside"] = {"va": [aside(f"{number}.dcm", "truncated", "Short.") for number in range(40)]}
    section = page(found).split("What was set aside?")[1].split("</section>")[0]
    assert "40 at 1 site could not be trusted" in section
    assert "<details open" not in section


def test_what_a_site_says_stays_text():
    found = report()
    found["set_aside"] = {HOSTILE[0]: [aside(HOSTILE[1], HOSTILE[2], HOSTILE[0])]}
    text = page(found)
    assert "<script>document" not in text
    assert "<img" not in text
