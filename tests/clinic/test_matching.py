from __future__ import annotations

import pytest

from fedmed.clinic import matching
from fedmed.config.loading import parse
from fedmed.sites.readers import READERS
from tests.clinic.staff import SCENARIO
from tests.clinic.test_releasing import dataset

OPTIONS = {"site": "ward", "classes": ["0", "1"]}


def scenario(*overrides: str):
    return parse(SCENARIO, "s", overrides)


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        {**OPTIONS, "site": None, "file": "ours.csv", "label": "Befund", "patient": "Fall", "split": "Teil"},
        {**OPTIONS, "features": []},
    ],
)
def test_names_of_files_and_columns_may_differ(options):
    assert matching.faults(scenario(), dataset(options=options, folder="/srv/elsewhere")) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({**OPTIONS, "classes": ["1", "0"]}, 'data.options.classes: the run has ["0", "1"], data set wards ["1", "0"]'),
        ({**OPTIONS, "features": ["x"]}, "data.options.features: the run has [], "),
    ],
)
def test_what_decides_what_the_model_sees_may_not(options, said):
    [fault] = matching.faults(scenario(), dataset(options=options))
    assert fault.startswith(said)


def test_another_reader():
    [fault] = matching.faults(scenario(), dataset(reader="npz"))
    assert fault == "data.reader: the run reads csv, data set wards was registered as npz"


def test_how_patients_are_held_back_is_told():
    assert matching.notes(scenario(), dataset(seed=7)) == []
    assert matching.notes(scenario("data.split.seed=3"), dataset(seed=9, split={"seed": 3})) == []
    found = matching.notes(scenario("data.split.test=0.5"), dataset(seed=8))
    assert found[0] == "data.split.test: the run has 0.5, data set wards 0.2, which stays"
    assert found[1].startswith("the seed of the split is 7 in the run and 8 here, which stays")
    assert len(found) == 2


def test_every_local_option_is_one_of_its_reader():
    for reader, options in matching.LOCAL.items():
        assert options <= set(READERS[reader].options.model_fields)
