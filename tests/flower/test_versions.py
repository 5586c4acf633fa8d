"""Nodes and a center of other versions than each other's, over mutual TLS."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from fedmed import __version__
from fedmed.flower.fleet import CallFailed, Door, Fleet
from fedmed.flower.refusals import TOO_FAR
from tests.flower.real import federation

MAJOR, MINOR = map(int, __version__.split(".")[:2])


@pytest.mark.parametrize("apart", [0, 1])
def test_one_minor_apart_each_knows_the_others_version(tmp_path: Path, apart: int):
    theirs = f"{MAJOR}.{MINOR + apart}.0"
    with federation(tmp_path) as fed:
        client, met = fed.admit("north"), list[str]()
        door = Door(fed.address, fed.authority.pem, client.chain_pem, client.key_pem)
        fleet = Fleet(door, client.keys.transport_public, Event(), met=met.append, version=theirs)
        number = fleet.activate()
        fleet.beat()
        assert set(met) == {__version__}
        assert fed.engine.fence.versions == {number: theirs}
        fleet.close()


def test_two_minors_apart_the_center_refuses_every_call_and_says_both(tmp_path: Path):
    theirs = f"{MAJOR}.{MINOR + 2}.0"
    with federation(tmp_path) as fed:
        client = fed.admit("north")
        door = Door(fed.address, fed.authority.pem, client.chain_pem, client.key_pem)
        fleet = Fleet(door, client.keys.transport_public, Event(), version=theirs)
        for call in (fleet.activate, fleet.take):
            with pytest.raises(
                CallFailed, match=f"the clinic runs fedmed {theirs}, the other side {__version__}"
            ) as refused:
                call()
            assert refused.value.status == TOO_FAR
        fleet.close()
