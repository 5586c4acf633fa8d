"""A whole run with an app of the researcher's own, which answers with numbers of its own: masked and not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.simulate import engines
from tests.simulate import own_app

BOUND = 10.0
DECLARED = ("rounds=2", "engine.workers=0", f"training.metrics={{update_norm: {BOUND}, silent: 1}}")
ROOT = Path(own_app.__file__).parents[2]


@pytest.fixture(scope="module")
def folders(simulated, tmp_path_factory):
    """A masked run and one that is not."""
    folder = tmp_path_factory.mktemp("own")
    found = {"masked": folder / "masked", "plain": folder / "plain"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "CLIENT", replace(engines.CLIENT, root=ROOT, name=f"{own_app.__name__}:app"))
        simulated(found["masked"], *DECLARED)
        simulated(found["plain"], *DECLARED, "privacy.secure_aggregation=off")
    return found


@pytest.fixture(scope="module")
def rounds(folders):
    return {name: json.loads((path / "report.json").read_text())["rounds"] for name, path in folders.items()}


def test_the_masked_mean_is_that_of_the_sites_by_cases(rounds):
    """Both runs have the same first round to the bit, and the run that is not masked tells each site's number."""
    masked, plain = (rounds[name][0]["train"] for name in ("masked", "plain"))
    told = [(each["examples"], each["update_norm"]) for each in plain["sites"].values()]
    mean = sum(cases * value for cases, value in told) / sum(cases for cases, _ in told)
    assert len({value for _, value in told}) == 3
    assert masked["update_norm"] == pytest.approx(mean, abs=BOUND * 2.0**-31, rel=1e-12)
    assert plain["update_norm"] == pytest.approx(mean, rel=1e-12)
    assert masked["loss"] == pytest.approx(plain["loss"], abs=1e-6)
    assert masked["silent"] is plain["silent"] is None


def test_only_what_was_declared_is_in_the_masked_record(rounds):
    for each in rounds["masked"]:
        assert each["train"].keys() == {"loss", "update_norm", "silent", "cases", "sites"}
        assert each["joined"] == each["cohort"]
        assert each["strategy"].keys() == {"loss", "update_norm"}
    assert rounds["plain"][0]["train"]["site_number"] == pytest.approx(1.0)


def test_the_staff_of_every_site_is_told_once_and_whoever_simulates_hears_of_it(folders):
    for number in range(3):
        (line,) = (folders["masked"] / "ledgers" / f"{number:05d}.log").read_text().splitlines()
        assert "the app's metric 'site_number'" in line
    journal = [json.loads(line) for line in (folders["masked"] / "journal.jsonl").read_text().splitlines()]
    (said,) = [each for each in journal if each["event"] == "site-log"]
    assert said["sites"] == ["north", "south", "west"]
    assert "training.metrics" in said["line"]


def test_the_ledger_names_the_fields_and_the_page_draws_the_number(folders):
    lines = (folders["masked"] / "ledgers" / "00000.departures.jsonl").read_text()
    assert "update_norm.sum" in lines
    assert "site_number" not in lines
    assert 'aria-label="update_norm by round"' in (folders["masked"] / "report.html").read_text()
