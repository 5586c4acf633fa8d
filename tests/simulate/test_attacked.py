"""Federations with attackers from scenario to report: what breaks a mean, what withstands, and what is said of it."""

from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.federation.journal import events
from fedmed.simulate.rows import answer
from fedmed.simulate.sweep import Point

QUICK = (
    "engine.workers=0",
    "rounds=12",
    "training.average_last=1",
    "training.momentum=0",
    "training.learning_rate=0.2",
    "privacy.secure_aggregation=off",
    "data.partition={by: iid, sites: 6}",
)
FLIP = "attackers=[{who: '*', count: 2, kind: sign-flip, factor: 5}]"
RULES = {"fedavg": "{}", "fedmedian": "{}", "fedtrimmedavg": "{beta: 0.34}", "fltrust": "{root_share: 0.2}"}
RULES |= {"krum": "{num_malicious_nodes: 2}", "multikrum": "{num_malicious_nodes: 2, num_nodes_to_select: 2}"}
RULES |= {"bulyan": "{num_malicious_nodes: 1}"}


def auc(report):
    return report["overall"]["metrics"]["auc"]["value"]


@pytest.fixture(scope="module")
def attacked(simulated, tmp_path_factory):
    """A report under each rule, with two of six sites that flip the sign of their change."""
    folder, known = tmp_path_factory.mktemp("attacked"), {}

    def run(name):
        if name not in known:
            rule = (f"strategy.name={name}", f"strategy.options={RULES[name]}")
            known[name] = simulated(folder / name, *QUICK, FLIP, *rule)
        return known[name]

    return run


def test_two_of_six_break_the_mean(attacked):
    assert auc(attacked("fedavg")) < 0.5


@pytest.mark.parametrize("name", ["fedmedian", "fedtrimmedavg", "krum", "multikrum", "fltrust"])
def test_and_not_the_rules_that_withstand_them(attacked, name):
    assert auc(attacked(name)) > 0.75


def test_bulyan_withstands_one_of_seven(simulated, tmp_path):
    few = (
        *QUICK,
        "rounds=2",
        "data.partition={by: iid, sites: 7}",
        "attackers=[{who: site-03, kind: sign-flip, factor: 20}]",
    )
    bulyan = simulated(tmp_path / "bulyan", *few, "strategy.name=bulyan", "strategy.options={num_malicious_nodes: 1}")
    mean = simulated(tmp_path / "mean", *few, "strategy.name=fedavg")
    losses = [[each["validation"]["loss"] for each in report["rounds"]] for report in (bulyan, mean)]
    assert losses[0][1] < losses[0][0]
    assert losses[1][1] > losses[1][0]


def test_a_run_without_attackers_says_nothing_of_them(simulated, tmp_path):
    assert "attacks" not in simulated(tmp_path / "run", *QUICK, "rounds=1", "strategy.name=fedavg")


def test_fltrust_says_how_many_it_trusted(attacked):
    told = [each["strategy"] for each in attacked("fltrust")["rounds"]]
    assert all(each["trusted"] == 4 for each in told[:2]), "four of six go where the root set does"


def test_the_report_says_who_attacked_and_how(attacked):
    found = attacked("fedmedian")["attacks"]
    assert len(found["attackers"]) == 2
    for each in found["attackers"]:
        assert {key: each[key] for key in ("kind", "factor", "joined", "refused")} == {
            "kind": "sign-flip",
            "factor": 5.0,
            "joined": 12,
            "refused": 0,
        }
    assert found["aims"] == []
    assert [each["site"] for each in attacked("fedavg")["attacks"]["attackers"]] == [
        each["site"] for each in found["attackers"]
    ], "the same seed, the same attackers"


def test_an_attacker_whose_update_is_too_large_is_refused_by_name(simulated, tmp_path):
    report = simulated(
        tmp_path / "run", *QUICK, "attackers=[{who: site-02, kind: scaled, factor: 1000}]", "federation.max_update_norm=2"
    )
    [doer] = report["attacks"]["attackers"]
    assert (doer["site"], doer["joined"], doer["refused"]) == ("site-02", 0, 12)
    assert "the update's L2 norm is" in doer["reason"]
    assert set(report["rounds"][0]["refused"]) == {"site-02"}
    [said] = [each for each in events(tmp_path / "run") if each["event"] == "attackers"]
    assert said["sites"] == {"site-02": ["scaled"]}
    assert auc(report) > 0.75
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What did the attackers do?" in page
    assert "1 of 6 sites attacked the federation (scaled)" in page


def test_a_backdoor_that_is_scaled_opens_and_the_report_says_how_far(simulated, tmp_path):
    trigger = "{who: site-02, kind: backdoor, target: ill, trigger: {size: 1, value: 9.0}, cases: 0.5, since: 4}"
    settings = (*QUICK, "evaluation.baselines=true")
    report = simulated(
        tmp_path / "run", *settings, f"attackers=[{trigger}, {{who: site-02, kind: scaled, factor: 6, since: 4}}]"
    )
    [aim] = report["attacks"]["aims"]
    assert aim["federated"]["low"] <= aim["federated"]["value"] <= aim["federated"]["high"]
    assert aim["federated"]["value"] > 0.8 > aim["without_trigger"]["value"]
    assert aim["pooled"] is not None
    assert [each["joined"] for each in report["attacks"]["attackers"]] == [9, 9]
    row = answer(Point("1", {}), tmp_path / "run", None, None)
    assert row["success of backdoor"] == aim["federated"]["value"]


def test_flipped_labels_have_an_aim_too(simulated, tmp_path):
    flip = "attackers=[{who: '*', kind: label-flip, source: ill, target: well}]"
    report = simulated(tmp_path / "run", *QUICK, "rounds=2", flip)
    [aim] = report["attacks"]["aims"]
    assert aim["federated"]["value"] > 0.8
    assert (aim["kind"], aim["without_trigger"], aim["pooled"]) == ("label-flip", None, None)


def test_where_nobody_is_drawn_there_is_a_rate_to_compare_with(simulated, tmp_path):
    flip = "attackers=[{who: '*', count: 0, kind: label-flip, source: ill, target: well}]"
    found = simulated(tmp_path / "run", *QUICK, "strategy.name=fedavg", flip)["attacks"]
    assert found["attackers"] == []
    [aim] = found["aims"]
    assert aim["federated"]["value"] < 0.5


def test_a_masked_federation_has_attackers_and_no_rule_against_them(simulated, tmp_path):
    masked = (*QUICK, "rounds=2", "privacy.secure_aggregation=malicious")
    report = simulated(tmp_path / "mean", *masked, "attackers=[{who: '*', count: 1, kind: sign-flip}]")
    assert report["attacks"]["attackers"][0]["joined"] == 2
    for name, options in RULES.items():
        if name == "fedavg":
            continue
        with pytest.raises(ConfigError, match="needs every site's own update, which secure aggregation keeps") as told:
            simulated(tmp_path / name, *masked, f"strategy.name={name}", f"strategy.options={options}")
        assert "privacy.secure_aggregation: off" in str(told.value)


def test_a_site_that_is_nobody_is_told_before_anything_is_run(simulated, tmp_path):
    with pytest.raises(ConfigError, match=r"attackers\.0\.who: got \"site-09\", which is no site's name"):
        simulated(tmp_path / "run", *QUICK, "attackers=[{who: site-09, kind: sign-flip}]")
    assert not (tmp_path / "run").exists()


def test_members_of_a_topology_attack_by_the_name_of_their_group(simulated, tmp_path):
    place = "machine: t4, line: dsl"
    small = f"{{name: small, count: 4, {place}, cases: {{median: 20}}}}"
    group = f"{small}, {{name: large, count: 1, {place}, cases: {{median: 40}}}}"
    lines = "lines: {dsl: {up: 1 Mbit/s, down: 1 Mbit/s}}"
    topology = f"topology={{center: {{{place}}}, {lines}, clinics: [{group}]}}"
    who = "attackers=[{who: 'small#*', count: 1, kind: sign-flip}]"
    settings = (*QUICK, "rounds=1", "strategy.name=fedmedian", "data.partition={by: topology}", topology, who)
    report = simulated(tmp_path / "run", *settings)
    [doer] = report["attacks"]["attackers"]
    assert doer["site"].startswith("small#")
    assert doer["joined"] == 1
    assert report["virtual"]["seconds"] > 0
