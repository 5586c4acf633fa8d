from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fedmed.clinic import datasets as module
from fedmed.clinic.datasets import DataSets, described, require_the_same
from fedmed.clinic.registering import lay_out, register
from fedmed.clinic.releasing import released, withdrawn
from fedmed.config.dataset import DataSet
from fedmed.config.loading import parse
from fedmed.config.scenario import Split
from fedmed.errors import ConfigError, DataError, NotApproved, StoreError
from fedmed.sites import prepared
from fedmed.sites.own import MADE, Source, site_of
from fedmed.sites.prepare import sites_of
from tests.clinic.staff import cases
from tests.clinic.test_releasing import NOW, dataset

PHANTOM = Source("phantom", MADE, {"share": 0.1}, None, Split(test=0.3, validation=0.1), 42)


def source(path: Path, **changed: object) -> Source:
    return Source(**{**Source("csv", str(path), {"site": "ward"}, None, Split(), 7).__dict__, **changed})


def test_one_comes_back_as_it_was_written(tmp_path):
    sets = DataSets(tmp_path)
    assert sets.names() == []
    sets.add(dataset(options={"a": [1, 2.5, None]}, site="Nürnberg"))
    assert sets.get("wards") == dataset(options={"a": [1, 2.5, None]}, site="Nürnberg")
    with pytest.raises(ConfigError, match="already"):
        sets.add(dataset())
    with pytest.raises(ConfigError, match="there are: wards"):
        sets.get("other")
    assert sets.names() == ["wards"]


@pytest.mark.parametrize("place", range(0, 3000, 97))
def test_no_byte_can_change(tmp_path, place):
    sets = DataSets(tmp_path)
    sets.add(dataset())
    path = sets.path("wards")
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"wards\.yaml"):
        sets.get("wards")


def test_a_file_under_another_name(tmp_path):
    sets = DataSets(tmp_path)
    sets.add(dataset())
    sets.path("wards").rename(sets.path("other"))
    with pytest.raises(StoreError, match=r"other\.yaml was changed"):
        sets.get("other")


def test_a_withdrawal_is_not_lost_to_a_release_at_the_same_time(tmp_path):
    sets = DataSets(tmp_path)
    sets.add(dataset())

    def release(number: int) -> None:
        sets.change("wards", lambda each: released(each, f"purpose-{number}", None, None, "x", NOW))

    threads = [threading.Thread(target=release, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sets.get("wards").releases) == 8
    assert sets.change("wards", lambda each: withdrawn(each, "x", "", NOW)).withdrawn is not None


def test_what_an_approval_binds_of_it():
    one = dataset()
    require_the_same(released(one, "research", None, None, "x", NOW), described(one))
    require_the_same(withdrawn(one, "x", "", NOW), described(one))
    for changed in (
        {"digest": "b" * 64},
        {"folder": "/other"},
        {"seed": 2},
        {"options": {"file": "x"}},
        {"declared": (20, 2)},
    ):
        with pytest.raises(NotApproved, match="not what was approved"):
            require_the_same(one.model_copy(update=changed), described(one))


def test_a_clinics_site_is_the_one_of_a_simulation_bit_by_bit(tmp_path):
    data = "{reader: phantom, options: {share: 0.1}, split: {test: 0.3, validation: 0.1}}"
    scenario = parse(f"{{name: x, title: x, rounds: 1, data: {data}, task: {{name: scan}}, training: {{epochs: 1}}}}", "x")
    sites = sites_of(scenario.data, None, scenario.seed, "")
    for site in sites[:2]:
        own, names = site_of(Source(**{**PHANTOM.__dict__, "site": site.name}), site.name)
        assert names == tuple(each.name for each in sites)
        prepared.lay_out([site], tmp_path / "simulated")
        prepared.lay_out([own], tmp_path / "own")
        for file in (tmp_path / "own").iterdir():
            assert file.read_bytes() == (tmp_path / "simulated" / file.name).read_bytes(), file.name


def test_a_set_of_several_sites_asks_which(tmp_path):
    with pytest.raises(ConfigError, match="say which is this clinic's: --site"):
        register("p", PHANTOM, "north", tmp_path / "s", NOW)
    with pytest.raises(ConfigError, match="hold no site 'elsewhere'"):
        register("p", Source(**{**PHANTOM.__dict__, "site": "elsewhere"}), "north", tmp_path / "s", NOW)
    assert not (tmp_path / "s").exists()


def test_what_is_read_is_what_is_laid_out(tmp_path):
    found = register("wards", source(cases(tmp_path / "w")), "north", tmp_path / "s", NOW)
    assert (found.dataset.unit, found.dataset.shape, found.dataset.classes) == ("record", (2,), ("0", "1"))
    assert (found.sites, found.set_aside) == (("north",), ())
    assert sum(found.dataset.cases.model_dump().values()) == 60
    assert not (tmp_path / "s").exists()
    group = (tmp_path / "w").stat().st_gid
    lay_out(found.dataset, "north", tmp_path / "laid", group)
    assert prepared.open_site(tmp_path / "laid", 0).version == found.dataset.digest
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "laid").iterdir()} == {"0o440"}
    assert (tmp_path / "laid").stat().st_mode & 0o777 == 0o750
    with pytest.raises(NotApproved, match="not what was released"):
        lay_out(found.dataset.model_copy(update={"seed": 8}), "north", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_csv_without_a_column_of_sites_is_one_clinics(tmp_path):
    path = cases(tmp_path / "w") / "cases.csv"
    path.write_text("\n".join(line.partition(",")[2] for line in path.read_text().splitlines()) + "\n")
    found = register("wards", source(tmp_path / "w", options={}), "north", tmp_path / "s", NOW)
    assert found.sites == ()
    with pytest.raises(DataError):
        register("wards", source(tmp_path / "w"), "north", tmp_path / "s", NOW)
    with pytest.raises(ConfigError, match="leave out --folder"):
        register("p", Source(**{**PHANTOM.__dict__, "folder": "/srv"}), "north", tmp_path / "s", NOW)


class Later(DataSet):
    """As a later minor has it."""

    wish: str = "none"


def test_a_file_of_an_older_minor_stays_what_was_approved_and_one_of_a_newer_is_refused(tmp_path, monkeypatch):
    sets, old = DataSets(tmp_path), dataset()
    sets.add(old)
    monkeypatch.setattr(module, "DataSet", Later)
    found = sets.change("wards", lambda each: released(each, "research", None, None, "x", NOW))
    assert isinstance(found, Later)
    require_the_same(sets.get("wards"), described(old))
    sets.change("wards", lambda each: each.model_copy(update={"wish": "some"}))
    with pytest.raises(NotApproved):
        require_the_same(sets.get("wards"), described(old))
    monkeypatch.undo()
    module._decoded.cache_clear()
    with pytest.raises(StoreError, match=r"newer fedmed than this one (.|\n)*wish: unknown key"):
        sets.get("wards")
