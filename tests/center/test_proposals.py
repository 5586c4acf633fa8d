from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
from pathlib import Path

import pytest

from fedmed.center.listening import Listener
from fedmed.center.proposals import APP, MOST_OFFERED, PROPOSALS, Offer, ProposalsApp, propose
from fedmed.config.catalogue import builtin_scenarios
from fedmed.config.loading import load
from fedmed.errors import ConfigError
from fedmed.identity.enrolment import Revoke
from fedmed.identity.proposal import read_offered
from fedmed.wire import bundle
from tests.center.federation import Federation, federation, tls
from tests.identity.test_proposal import PROJECT

HEART = load(builtin_scenarios()["heart"])


@pytest.fixture
def center(tmp_path: Path):
    with federation(tmp_path) as up:
        yield up


def served(center: Federation, offers: list[Offer]) -> Listener:
    return Listener(ProposalsApp(center.folder.admissions(), lambda: offers), tls(center.folder), "127.0.0.1", 0)


def get(port: int, context: ssl.SSLContext, path: str, method: str = "GET", body: bytes | None = None):
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "app" / "own").mkdir(parents=True)
    (tmp_path / "app" / "pyproject.toml").write_bytes(PROJECT)
    (tmp_path / "app" / "own" / "app.py").write_text("app = None\n")
    return tmp_path / "app"


def test_a_member_reads_what_is_offered_and_the_apps_file(center, own):
    offers = [propose("plain", HEART), propose("own", HEART, own)]
    context = center.as_member(center.joined("north"))
    with served(center, offers) as up:
        status, found = get(up.port, context, PROPOSALS)
        assert status == 200
        assert [read_offered(each) for each in found["proposals"]] == [offer.offered for offer in offers]
        digest = offers[1].offered.proposal.app.digest
        status, found = get(up.port, context, f"{APP}?digest={digest}")
        assert status == 200
        content = base64.b64decode(found["app"])
        assert hashlib.sha256(content).hexdigest() == digest
        assert bundle.unpack(content) == bundle.files_in(own)
        offers.clear()
        assert get(up.port, context, f"{APP}?digest={digest}")[0] == 404
        assert get(up.port, context, PROPOSALS) == (200, {"proposals": []})


def test_nobody_else_reads_anything(center):
    clinic = center.joined("north")
    context = center.as_member(clinic)
    with served(center, [propose("plain", HEART)]) as up:
        center.folder.enrolments.apply(Revoke("north"))
        assert "were revoked" in get(up.port, context, PROPOSALS)[1]["refused"]
        assert get(up.port, context, f"{APP}?digest={'0' * 64}")[0] == 403
        center.folder.enrolments.path.write_bytes(b"{}")
        assert get(up.port, context, PROPOSALS)[0] == 503


def test_requests_that_are_none(center):
    context = center.as_member(center.joined("north"))
    with served(center, []) as up:
        assert get(up.port, context, "/fedmed/proposals/")[0] == 404
        assert get(up.port, context, PROPOSALS, "POST")[0] == 405
        assert get(up.port, context, PROPOSALS, body=b"x")[0] == 413
        for query in ("", "?digest=ab", f"?digest={'0' * 64}&x=1", f"?digest={'A' * 64}"):
            assert get(up.port, context, APP + query)[0] == 400


def test_as_many_as_fit_into_one_answer(center):
    context = center.as_member(center.joined("north"))
    offers = [propose(f"run-{number}", HEART) for number in range(MOST_OFFERED + 1)]
    with served(center, offers) as up:
        assert len(get(up.port, context, PROPOSALS)[1]["proposals"]) == MOST_OFFERED


def test_an_app_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        propose("own", HEART, tmp_path / "app.fab")


def test_a_topology_is_for_simulations():
    path = builtin_scenarios()["hospital-and-8-clinics"]
    with pytest.raises(ConfigError, match=r"has a topology, lines and machines of a simulation.*--set topology=null"):
        propose("twin", load(path))
    assert propose("twin", load(path, ["topology=null", "data.partition.by=natural"])).offered.proposal.run == "twin"


def test_attackers_are_for_simulations():
    path = builtin_scenarios()["attacked"]
    with pytest.raises(ConfigError, match=r"has attackers, which a simulation alone may have.*--set attackers=\[\]"):
        propose("attacked", load(path))
    assert propose("honest", load(path, ["attackers=[]"])).offered.proposal.run == "honest"


def test_a_rule_that_needs_cases_at_the_center_is_for_simulations():
    with pytest.raises(ConfigError, match=r"strategy\.name fltrust, which needs a root set at the center"):
        propose("rooted", load(builtin_scenarios()["heart"], ["strategy.name=fltrust"]))
