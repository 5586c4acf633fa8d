"""The guides on hosts that are network namespaces: one port, no listening clinic, a proxy, a cut, a revocation."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.system.doors import IN_THE_LOG, absent, listeners, logged, member_call, refused
from tests.system.houses import Houses, until
from tests.system.network import CENTER, NAMES, PROXY, ip, is_possible

pytestmark = [
    pytest.mark.nightly,  # test_federation.py has the same services in the suite, on one host
    pytest.mark.skipif(not is_possible(), reason="no network namespaces here: they need root, ip, tc and ss"),
]
SITES = {"north": "north-university", "east": "east-city", "far": "west-mobile"}
DATA = ("--dataset", "cases", "--reader", "phantom", "--set", "split.test=0.3", "--set", "split.validation=0.1")
RUN, CUT_S = "demo", 15.0


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory):
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("houses")
        made = Houses(place, stack, SITES, ["far"])
        made.found()
        made.join()
        made.run(RUN, "rounds=300")
        for name, site in SITES.items():
            made.approve(name, RUN, *DATA, "--site", site)
            made.clinics[name].up("clinic")
        until(lambda: made.committed(RUN), "the first commit")
        yield made
    assert made.network.prefix not in ip("netns", "list")
    assert not list(NAMES.glob(f"{made.network.prefix}*"))


def test_the_center_listens_on_one_port_and_clinics_on_none(houses: Houses):
    assert {line.split()[4].rpartition(":")[2] for line in listeners(houses.network, CENTER)} == {"443"}
    assert [listeners(houses.network, name) for name in SITES] == [[], [], []]


def test_who_has_a_proxy_alone_takes_part_through_it(houses: Houses):
    peers = {line.split()[4].rpartition(":")[0] for line in houses.network.sockets(CENTER, "-t")}
    assert houses.network.hosts[PROXY] in peers
    assert "far" in {event["site"] for event in houses.events(RUN, "answered")}


def test_the_port_lets_in_members_over_tls_1_3_and_to_exact_paths_alone(houses: Houses):
    assert member_call(houses.clinics["north"]) == 200
    assert member_call(houses.clinics["far"], is_hidden=True) == 200
    assert set(refused(houses.clinics["north"]).values()) == {0}
    until(lambda: logged(houses.center).keys() >= IN_THE_LOG, "refusals in the center's audit log")
    assert set(absent(houses.clinics["north"]).values()) == {404}


def test_a_line_that_is_cut_for_a_while_costs_no_round_and_no_attempt(houses: Houses):
    seen = houses.begun(RUN)
    until(lambda: houses.begun(RUN) > seen, "another round")
    houses.network.cut("north")
    time.sleep(CUT_S)
    houses.network.mend("north")
    number = houses.begun(RUN)
    until(lambda: houses.committed(RUN) > number, "the round after the cut")
    rounds = [event for event in houses.events(RUN, "round") if seen < event["round"] <= number + 1]
    assert [event["attempt"] for event in rounds] == [1] * len(rounds)
    answers = {event["site"] for event in houses.events(RUN, "answered") if event["round"] == number}
    assert answers == set(SITES)


def test_a_clinic_that_is_revoked_in_mid_run_is_refused_at_once(houses: Houses):
    houses.center.says("center", "revoke", "far", "--at", "study")
    assert member_call(houses.clinics["far"], is_hidden=True) == 403
    assert member_call(houses.clinics["north"]) == 200
    until(
        lambda: "2 of the run's clinics are members still, 3 are needed; revoked: far" in houses.state(RUN)["why"],
        "a reason",
    )
