from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.scenario import Data, Partition, Split
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError, DataError
from fedmed.sites import sites_of


def csv_set(folder: Path, rows: int = 60) -> Data:
    lines = [f"{index},{index % 7},{index % 2},{'ab'[index % 3 == 0]},p{index // 2}" for index in range(rows)]
    (folder / "cases.csv").write_text("\n".join(["u,v,label,clinic,patient", *lines]))
    return Data(reader="csv", options={"site": "clinic", "patient": "patient"})


def test_from_file_to_sites(tmp_path: Path) -> None:
    sites = sites_of(csv_set(tmp_path), tmp_path, 3, "")
    assert [site.name for site in sites] == ["b", "a"]
    assert sum(len(site.train) + len(site.validation) + len(site.test) for site in sites) == 60
    again = sites_of(csv_set(tmp_path), tmp_path, 3, "")
    assert all((one.test.x == other.test.x).all() for one, other in zip(sites, again, strict=True))


def test_a_topology_has_as_many_who_train_as_there_are_sites(tmp_path: Path) -> None:
    line = {"up": "1 Mbit/s", "down": "1 Mbit/s"}
    group = {"name": "clinic", "count": 3, "machine": "t4", "line": "wan"}
    text = json.dumps({"lines": {"wan": line}, "center": {"line": "wan"}, "clinics": [group]})
    three = Topology.model_validate_json(text)
    with pytest.raises(ConfigError, match=r"the data has 2 sites \(b, a\), and 3 train in the topology.*by: topology"):
        sites_of(csv_set(tmp_path), tmp_path, 3, "", three)
    assert sites_of(csv_set(tmp_path), tmp_path, 3, "", three.model_copy(update={"learning": "modelled"}))
    dealt = csv_set(tmp_path).model_copy(update={"partition": Partition(by="topology", alpha=100)})
    assert [site.name for site in sites_of(dealt, tmp_path, 3, "", three)] == ["clinic#1", "clinic#2", "clinic#3"]


def test_the_partition_s_seed_leaves_the_split_alone(tmp_path: Path) -> None:
    data = csv_set(tmp_path).model_copy(update={"partition": Partition(by="iid", sites=2), "split": Split(test=0.5)})
    sizes = [len(site.test) for site in sites_of(data, tmp_path, 0, "")]
    assert all(10 <= size <= 20 for size in sizes)


def test_heart_sites_are_the_published_ones(shared_data: Path) -> None:
    data = Data(reader="heart", folder="heart", split=Split(validation=0))
    sites = {site.name: site for site in sites_of(data, shared_data, 42, "")}
    assert list(sites) == ["cleveland", "hungarian", "switzerland", "va"]
    assert [(len(site.train), len(site.test)) for site in sites.values()] == [(199, 104), (172, 89), (30, 16), (85, 45)]
    assert np.unique(sites["switzerland"].train.y).tolist() == [1], "a site of one class"


def test_skin_sites_never_divide_a_lesion(shared_data: Path) -> None:
    for site in sites_of(Data(reader="skin", folder="ham10000_8x8"), shared_data, 0, ""):
        homes = [set(part.patient.tolist()) for part in (site.train, site.validation, site.test)]
        assert sum(map(len, homes)) == len(set.union(*homes))


def test_a_missing_folder_says_where_the_set_is_published() -> None:
    with pytest.raises(DataError, match=r"(?s)no data folder.*archive\.example.*--data DIR or FEDMED_DATA"):
        sites_of(Data(reader="heart", folder="heart"), None, 0, "archive.example/heart holds processed.*.data")


def test_a_set_without_sites_needs_a_partition(tmp_path: Path) -> None:
    data = csv_set(tmp_path).model_copy(update={"options": {"features": ["u", "v"]}})
    with pytest.raises(ConfigError, match="names no sites"):
        sites_of(data, tmp_path, 0, "")


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = "import sys, fedmed.sites; print(sorted({'torch', 'PIL', 'pydicom', 'flwr', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
