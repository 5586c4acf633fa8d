from __future__ import annotations

import html
import re

from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report import sample


def shown(made):
    text = render(Report.model_validate(made))
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text.split("<body>")[1])).split())


def virtual(**changed):
    told = {"seconds": 90_000.0, "learning": "real", "masks": "real", "members": {"va": "large/1"}, "regions": []}
    return sample.masked() | {"virtual": told | changed}


def test_times_are_called_virtual_wherever_they_are_those_of_the_topology():
    words = shown(virtual())
    assert "Times of rounds are virtual: on the topology's machines and lines the run took 25 h 0 min." in words
    assert "Time (virtual) 25 h 0 min" in words
    assert "Time of a round virtual seconds, by phase" in words
    assert "from start to end, in this machine's own time" in words
    assert "Learning was real. Every update was masked, as in hospitals." in words


def test_a_run_without_masks_says_so():
    assert "No update was masked: what masks take in time and bytes is in none of the figures." in shown(
        virtual(masks="none")
    )


def test_regions_that_only_passed_on_are_named():
    assert "between clinics and center (north and south) passed every message on" in shown(
        virtual(regions=["north", "south"])
    )


def test_a_run_in_the_machines_own_time_says_nothing_of_it():
    assert "virtual" not in shown(sample.masked())
