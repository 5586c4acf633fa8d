from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.clinic.archiving import folders_of
from fedmed.clinic.datasets import DataSets
from fedmed.errors import StoreError
from tests.clinic.test_releasing import dataset
from tests.hub.archived import Hubs


def test_what_a_data_set_reads_stays_whether_released_or_not(tmp_path):
    hub = Hubs(tmp_path, str(tmp_path / "away"))
    hub.sends("1.2", b"one")
    hub.sends("1.3", b"two", device="mri")
    sets = DataSets(hub.clinic)
    sets.add(dataset(name="own", folder=str(hub.folder.path / "studies" / "echo")))
    hub.used = folders_of(hub.clinic)
    assert hub.used == [hub.folder.path / "studies" / "echo"]
    found = hub.archiver().turn()
    assert (found.studies, found.held, found.error) == (0, 1, "")
    assert hub.contents() == [b"one"]


def test_where_a_data_set_cannot_be_read_nothing_can_be_told(tmp_path):
    assert folders_of(tmp_path) == []
    DataSets(tmp_path).add(dataset(name="own", folder=str(tmp_path)))
    Path(DataSets(tmp_path).path("own")).write_bytes(b"changed by hand")
    with pytest.raises(StoreError, match="changed by hand"):
        folders_of(tmp_path)
