from __future__ import annotations

import numpy as np
import pytest

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError
from fedmed.serving.cases import check_set, read_cases, spread
from fedmed.sites.cases import Cases
from tests.serving.models import card


@pytest.fixture
def scenario(tmp_path):
    (tmp_path / "wards").mkdir()
    rows = [f"{ward},{n},{n % 3},1,2,{n % 2}" for ward in ("east", "west") for n in range(40)]
    (tmp_path / "wards" / "cases.csv").write_text("\n".join(["ward,a,b,c,d,label", *rows]) + "\n")
    return Scenario.model_validate(
        {
            "name": "wards",
            "title": "wards",
            "rounds": 1,
            "data": {"reader": "csv", "folder": "wards", "options": {"site": "ward"}},
            "task": {"name": "tabular"},
            "training": {"learning_rate": 0.1, "batch_size": 4, "epochs": 1},
        }
    )


def test_the_cases_of_one_site_or_of_all(scenario, tmp_path):
    every = read_cases(scenario, tmp_path, "train")
    own = read_cases(scenario, tmp_path, "train", "east")
    assert len(every) == 2 * len(own) > 0
    assert read_cases(scenario, tmp_path, "test").x.shape[1:] == (4,)
    with pytest.raises(ConfigError, match="allowed: east, west"):
        read_cases(scenario, tmp_path, "train", "north")
    with pytest.raises(ConfigError, match="allowed: train, validation, test"):
        read_cases(scenario, tmp_path, "all")


def test_an_empty_split(scenario, tmp_path):
    none = scenario.model_copy(
        update={
            "data": scenario.data.model_copy(update={"split": scenario.data.split.model_copy(update={"validation": 0.0})})
        }
    )
    with pytest.raises(DataError, match="the split validation is empty"):
        read_cases(none, tmp_path, "validation")


CASES = Cases(np.arange(40, dtype=np.float32).reshape(10, 4), np.arange(10) % 2, ("no", "yes"))


def test_calibration_is_spread_over_the_cases():
    found = list(spread(card(), CASES, 3))
    assert [case[0] for case in found] == [0, 16, 36]
    assert len(list(spread(card(), CASES, 100))) == 10


def test_a_check_set():
    x, y = check_set(card(), CASES)
    assert (x.shape, y.tolist()) == ((10, 4), [0, 1] * 5)


def test_other_classes():
    other = card(classes=("yes", "no"))
    with pytest.raises(DataError, match="the cases have the classes no, yes, the model yes, no"):
        check_set(other, CASES)
    with pytest.raises(DataError, match="the model yes, no"):
        next(spread(other, CASES, 1))
