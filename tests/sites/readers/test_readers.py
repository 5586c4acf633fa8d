from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.part import Part
from fedmed.config.scenario import Data
from fedmed.errors import ConfigError, DataError
from fedmed.sites import readers
from fedmed.sites.cases import Cases
from fedmed.sites.readers import READERS, Reader, read, reader_named, reader_names


class OwnOptions(Part):
    value: float = 1.0


def read_own(folder: Path | None, options: OwnOptions, seed: int) -> Cases:
    return Cases(np.full((4, 1), options.value, dtype=np.float32), np.array([0, 1, 0, 1]), ("a", "b"))


OWN = Reader(read_own, OwnOptions, needs_folder=False)
NO_READER = "just text"


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch):
    def declare(**points: str) -> None:
        declared = EntryPoints(EntryPoint(name, value, readers.GROUP) for name, value in points.items())
        monkeypatch.setattr(readers, "entry_points", declared.select)

    return declare


def test_the_built_in_readers_are_documented_and_frozen() -> None:
    for name, reader in READERS.items():
        assert reader.read.__doc__, name
        assert reader.options.model_config["frozen"], name
        assert reader.options.model_config["extra"] == "forbid", name
        reader.options()


def test_an_entry_point_adds_a_reader(entry_point) -> None:
    entry_point(own=f"{__name__}:OWN")
    assert reader_named("own") is OWN
    assert reader_names()[-1] == "own"
    assert read(Data(reader="own", options={"value": 2.5}), None, 0, "").x.max() == 2.5


def test_a_built_in_name_is_not_taken_over(entry_point) -> None:
    entry_point(csv=f"{__name__}:OWN")
    assert reader_named("csv") is READERS["csv"]
    assert reader_names().count("csv") == 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [(f"{__name__}:NO_READER", "is a str"), (f"{__name__}:ABSENT", "loaded"), ("no_such_module:X", "loaded")],
)
def test_an_entry_point_that_is_no_reader_is_refused(entry_point, value: str, complaint: str) -> None:
    entry_point(own=value)
    with pytest.raises(ConfigError, match=complaint):
        reader_named("own")


def test_an_unknown_reader_names_those_that_are_known() -> None:
    with pytest.raises(
        ConfigError, match=r"'cvs'; known readers are chase, csv, folder, heart, masks, nodules, npz, phantom"
    ):
        read(Data(reader="cvs"), None, 0, "")


def test_all_faults_of_the_options_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    options = {"size": "big", "colour": 1, "fild_of_view_mm": 3}
    with pytest.raises(ConfigError) as refused:
        read(Data(reader="folder", options=options), tmp_path, 0, "")
    for part in ("data.options.size is 'big'", "data.options.colour is 1", "data.options.fild_of_view_mm", "standardise"):
        assert part in str(refused.value)


def test_lists_of_a_yaml_file_are_taken_as_tuples(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")
    cases = read(Data(reader="csv", options={"features": ["b"], "classes": ["y", "x"]}), tmp_path, 0, "")
    assert cases.features == ("b",)
    assert cases.y.tolist() == [1, 0]


def test_a_missing_or_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    data = Data(reader="heart", folder="heart")
    with pytest.raises(DataError, match=r"(?s)heart was looked for.*published at x\.org.*FEDMED_DATA"):
        read(data, tmp_path, 0, "published at x.org")
    (tmp_path / "heart").mkdir()
    with pytest.raises(DataError, match=r"(?s)empty folder.*published at x\.org"):
        read(data, tmp_path, 0, "published at x.org")
    (tmp_path / "heart" / "other.txt").write_text("")
    with pytest.raises(DataError, match=r"(?s)processed\.cleveland\.data was looked for.*published at x\.org"):
        read(data, tmp_path, 0, "published at x.org")


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", "a/../../b"])
def test_a_folder_outside_the_data_root_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ConfigError, match="must lie below"):
        read(Data(reader="csv", folder=folder), tmp_path, 0, "")


def test_what_a_reader_hands_over_is_checked(entry_point) -> None:
    entry_point(own=f"{__name__}:OWN")
    with pytest.raises(DataError, match=r"reader 'own'.*NaN"):
        read(Data(reader="own", options={"value": float("nan")}), None, 0, "")
