from __future__ import annotations

import json

import pytest

from fedmed.clock import SystemClock
from fedmed.errors import FedmedError, ProtocolRefused
from fedmed.hub import fellows
from fedmed.hub.fellows import Fellows, publish
from fedmed.hub.joining import open_device
from fedmed.hub.messages import Owed
from tests.hub.clinic import serving


def test_what_a_device_pins_is_signed_by_the_authority_for_devices(tmp_path):
    with serving(tmp_path / "one") as here, serving(tmp_path / "two") as other:
        one, two = here.joined("box-1"), here.joined("box-2")
        other.joined("box-9")
        publish(here.folder)
        publish(other.folder)
        own = (here.folder.path / "down/_all/fellows/devices.json").read_bytes()
        foreign = (other.folder.path / "down/_all/fellows/devices.json").read_bytes()
        known = Fellows(one)
        assert known.known() == 1
        known.take(own)
        assert known.pins.keys() == {one.keys().fingerprint, two.keys().fingerprint}
        with pytest.raises(ProtocolRefused):
            known.take(foreign)
        known.take(json.dumps({"devices": []}).encode())
        assert (known.known(), len(known.pins)) == (2, 1), "fewer are told, and that there were two is remembered"
        assert Fellows(open_device(one.path, SystemClock())).known() == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"devices": 7}', b'{"devices": ["zz"]}', b'{"devices": ["00"]}'])
def test_a_list_of_devices_that_is_none_is_refused(tmp_path, content):
    with serving(tmp_path) as place, pytest.raises(FedmedError):
        Fellows(place.joined("box-1")).take(content)


def test_only_a_list_of_a_devices_size_is_wanted(tmp_path):
    with serving(tmp_path) as place:
        known = Fellows(place.joined("box-1"))
    large = Owed(fellows.FELLOWS, fellows.NAME, "0" * 64, fellows.MOST_BYTES + 1)
    assert known.wanted([large, Owed("round", "1", "0" * 64, 5)]) is None
