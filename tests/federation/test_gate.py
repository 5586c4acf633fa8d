from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.federation.gate import judge
from fedmed.learning.fingerprint import Fingerprint
from fedmed.preprocess.fused.parity import Certificate
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, Step
from tests.federation.prints import printed
from tests.learning.test_fingerprint import PASSED

OTHER = Pipeline((Step("read", {"values": "as stored"}), Step("window", {"centre": 40, "width": 400})))
WIDER = Pipeline((Step("read", {"values": "as stored"}), Step("window", {"centre": 40, "width": 350})))


def found(*sites, weight: str | None = None) -> list[tuple[str, str]]:
    return [(each.site, each.kind) for each in judge(sites) if weight in (None, each.weight)]


def sideways(x: np.ndarray) -> np.ndarray:
    return np.rot90(x, 1, (1, 2))


def mirrored(x: np.ndarray) -> np.ndarray:
    return x[:, :, ::-1]


def test_sites_that_differ_by_chance_only_pass():
    for count in (20, 40, 300):
        assert found(*(printed(f"s{seed}", seed, count=count) for seed in range(4))) == []


def test_nothing_is_found_among_tables_and_by_a_site_alone():
    table = replace(printed("a", 1), fingerprint=None)
    assert judge([table, table]) == []
    assert judge([printed("a", 1)]) == []
    assert judge([]) == []


@pytest.mark.parametrize("count", [20, 60, 1000])
def test_a_site_that_lies_sideways_is_named_with_the_way_back(count):
    sites = [printed("graz", 1, sideways, count=count), *(printed(f"s{n}", n) for n in (2, 3))]
    [finding] = judge(sites)
    assert (finding.site, finding.kind, finding.weight) == ("graz", "lies", "refuses")
    assert "its images lie sideways (turned by 90 degrees to the left), compared with other sites'" in finding.sentence
    assert "would be" in finding.sentence
    assert finding.distance > finding.threshold


def test_a_mirrored_site_is_named():
    sites = [printed("graz", 1, mirrored, count=500), *(printed(f"s{n}", n, count=500) for n in (2, 3))]
    assert found(*sites) == [("graz", "lies")]
    assert "mirrored left to right" in judge(sites)[0].sentence


def test_of_two_sites_that_differ_both_are_named_for_nobody_knows_which():
    findings = judge([printed("a", 1, sideways), printed("b", 2)])
    assert sorted((each.site, each.kind, each.weight) for each in findings) == [
        ("a", "lies", "refuses"),
        ("b", "lies", "refuses"),
    ]
    assert any("nobody can tell which of them are right" in each.sentence for each in findings)
    halves = [printed(f"s{n}", n, sideways if n < 2 else lambda x: x) for n in range(4)]
    assert {each.site for each in judge(halves)} == {"s0", "s1", "s2", "s3"}


def test_a_large_wrong_site_is_named_and_not_the_small_right_ones():
    sites = [printed("large", 1, sideways, count=3000), *(printed(f"s{n}", n, count=60) for n in (2, 3, 4))]
    assert found(*sites, weight="refuses") == [("large", "lies")]


def test_images_without_an_upright_are_never_refused():
    def cloudy(x: np.ndarray) -> np.ndarray:
        return np.random.default_rng(len(x)).normal(size=x.shape).astype(np.float32)

    for count in (20, 50, 400):
        assert found(*(printed(f"s{seed}", seed, cloudy, count=count + seed) for seed in range(4))) == []


def test_the_one_that_prepares_otherwise_is_named_by_step():
    sites = [printed("graz", 1, pipeline=WIDER), *(printed(f"s{n}", n, pipeline=OTHER) for n in (2, 3))]
    [finding] = judge(sites)
    assert (finding.site, finding.kind, finding.weight) == ("graz", "pipeline", "refuses")
    assert finding.sentence == "it prepares its images otherwise than 2 other sites: window.width 350 instead of 400"
    assert found(printed("a", 1), printed("b", 2, pipeline=OTHER)) == [("a", "pipeline"), ("b", "pipeline")]


def test_many_differences_are_cut():
    wide = Pipeline((Step("a", {str(n): n for n in range(9)}),))
    other = Pipeline((Step("a", {str(n): -n - 1 for n in range(9)}),))
    sites = [printed("graz", 1, pipeline=wide), *(printed(f"s{n}", n, pipeline=other) for n in (2, 3))]
    assert judge(sites)[0].sentence.endswith("and 5 more")


def test_kernels_that_fail_their_own_check_are_refused_and_a_missing_certificate_is_said():
    good = Certificate(**PASSED)
    bad = replace(good, passed=False, max_error=0.5)
    sites = [printed("graz", 1, parity=bad), printed("linz", 2, parity=good), printed("wels", 3)]
    assert [(each.site, each.kind, each.weight) for each in judge(sites)] == [
        ("graz", "parity", "refuses"),
        ("wels", "parity", "warns"),
    ]
    assert "error 0.5 with a bound of 1e-05 (numba)" in judge(sites)[0].sentence


def test_another_version_of_the_statistics_is_refused():
    odd = printed("graz", 1)
    odd = replace(odd, fingerprint=replace(odd.fingerprint, statistics=replace(odd.fingerprint.statistics, version=0)))
    assert found(odd, printed("b", 2), printed("c", 3), weight="refuses") == [("graz", "version")]


def test_who_withholds_or_has_too_few_is_said_and_stops_nobody():
    withheld = replace(printed("graz", 1), fingerprint=Fingerprint(AS_STORED, None, None, "the site did not approve it"))
    old, small = replace(printed("linz", 2), fingerprint=None), printed("wels", 3, count=9)
    findings = judge([withheld, old, small, printed("a", 4), printed("b", 5)])
    assert {(each.site, each.kind, each.weight) for each in findings} == {
        ("graz", "withheld", "warns"),
        ("linz", "withheld", "warns"),
        ("wels", "few", "notes"),
    }
    assert "did not approve" in findings[0].sentence


@pytest.mark.parametrize(
    ("kind", "site"),
    [
        ("spacing_rows", {"spacing_mm": np.full((120, 3), (np.nan, 3.0, 1.0))}),
        ("orientation", {"orientation": np.array(["PFR"] * 120)}),
        ("mean", {"change": lambda x: x + 40}),
        ("deviation", {"change": lambda x: (x - x.mean((1, 2), keepdims=True)) * 5 + x.mean((1, 2), keepdims=True)}),
        ("classes", {"classes": (115, 5)}),
    ],
)
def test_what_scanners_may_differ_in_warns_only(kind, site):
    usual = {
        "classes": (5, 115),
        "spacing_mm": np.full((120, 3), (np.nan, 1.0, 1.0)),
        "orientation": np.array(["LPH"] * 120),
    }
    others = [printed(f"s{n}", n, **usual) for n in (2, 3)]
    findings = judge([printed("graz", 1, **{**usual, **site}), *others])
    assert [(each.site, each.kind, each.weight) for each in findings if each.site == "graz"] == [("graz", kind, "warns")]
    assert all(each.weight == "warns" for each in findings)


def test_classes_that_are_not_told_are_not_compared():
    mixtures = [(115, 5), (5, 115), (60, 60), (60, 60)]
    sites = [printed(f"s{n}", n, classes=mixture) for n, mixture in enumerate(mixtures)]
    assert ("s0", "classes") in found(*sites)
    assert found(*(replace(site, class_counts=()) for site in sites)) == []


def test_a_finding_is_plain_json():
    [finding] = judge([printed("graz", 1, sideways), printed("b", 2), printed("c", 3)])
    assert set(finding.record()) == {"site", "kind", "weight", "sentence", "distance", "threshold"}
    assert isinstance(finding.record()["distance"], float)
