from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.sites.readers.heart import MD5, HeartOptions, read_heart


@pytest.fixture
def heart(shared_data: Path) -> Path:
    return shared_data / "heart"


@pytest.fixture
def copy(heart: Path, tmp_path: Path) -> Path:
    for name in MD5:
        shutil.copyfile(heart / f"processed.{name}.data", tmp_path / f"processed.{name}.data")
    return tmp_path


def test_counts_are_the_published_ones(heart: Path) -> None:
    cases = read_heart(heart, HeartOptions(), 0)
    assert cases.x.shape == (740, 13)
    assert cases.site is not None
    assert cases.split is not None
    found = {}
    for name in dict.fromkeys(cases.site.tolist()):
        own = cases.site == name
        found[name] = [
            (int((own & (cases.split == part)).sum()), int(cases.y[own & (cases.split == part)].sum()))
            for part in ("train", "test")
        ]
    assert found == {
        "cleveland": [(199, 91), (104, 48)],
        "hungarian": [(172, 65), (89, 33)],
        "switzerland": [(30, 30), (16, 15)],
        "va": [(85, 66), (45, 35)],
    }


def test_the_first_row_is_the_file_s_first_line(heart: Path) -> None:
    cases = read_heart(heart, HeartOptions(), 0)
    row = dict(zip(cases.features, cases.x[0].tolist(), strict=True))
    assert row == pytest.approx(
        {"age": 63, "sex": 1, "trestbps": 145, "chol": 233, "fbs": 1, "thalach": 150, "exang": 0, "oldpeak": 2.3}
        | {"cp_2": 0, "cp_3": 0, "cp_4": 0, "restecg_1": 0, "restecg_2": 1}
    )


def test_the_split_is_scikit_learn_s_row_by_row(heart: Path) -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    cases = read_heart(heart, HeartOptions(), 0)
    assert cases.site is not None
    assert cases.split is not None
    for name in MD5:
        own = cases.site == name
        labels = cases.y[own]
        _, test = model_selection.train_test_split(
            np.arange(len(labels)),
            test_size=1.0 - 0.66,
            train_size=0.66,
            random_state=43,
            stratify=None if name == "switzerland" else labels,
        )
        assert np.flatnonzero(cases.split[own] == "test").tolist() == sorted(test.tolist())


def test_missing_columns_come_back_with_flags_and_sites_with_indicators(heart: Path) -> None:
    cases = read_heart(heart, HeartOptions(restore_missing=True, site_indicator=True), 0)
    plain = read_heart(heart, HeartOptions(), 0)
    assert cases.x.shape == (740, 25)
    np.testing.assert_array_equal(cases.x[:, :13], plain.x)
    column = {name: cases.x[:, index] for index, name in enumerate(cases.features)}
    assert cases.site is not None
    own = cases.site == "hungarian"
    share = [column[f"{name}_missing"][own].mean() for name in ("slope", "ca", "thal")]
    np.testing.assert_allclose(share, [0.64, 0.99, 0.90], atol=0.02)
    assert (column["ca"][column["ca_missing"] == 1] == 0).all()
    assert (column["slope_2"] + column["slope_3"] + column["slope_missing"] <= 1).all()
    assert sum(column[f"site_{name}"] for name in MD5).tolist() == [1] * 740


def test_an_altered_copy_is_refused_unless_asked_for(copy: Path) -> None:
    path = copy / "processed.va.data"
    path.write_text(path.read_text().replace("?", "0"))
    with pytest.raises(DataError, match=r"processed\.va\.data: MD5 is .*4249d03ca7711e84f4444768c9426170.*verify"):
        read_heart(copy, HeartOptions(), 0)
    assert len(read_heart(copy, HeartOptions(verify=False), 0)) > 740


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("1,2,3\n", "line 1: has 3 cells"), ("age" + ",1" * 13, "line 1: could not convert"), ("", "no cases")],
)
def test_an_unreadable_file_names_its_line(copy: Path, text: str, complaint: str) -> None:
    (copy / "processed.cleveland.data").write_text(text)
    with pytest.raises(DataError, match=rf"processed\.cleveland\.data.*{complaint}"):
        read_heart(copy, HeartOptions(verify=False), 0)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "processed.va.data").unlink()
    with pytest.raises(DataError, match=r"processed\.va\.data was looked for"):
        read_heart(copy, HeartOptions(), 0)
    with pytest.raises(DataError, match="is a file"):
        read_heart(copy / "processed.cleveland.data", HeartOptions(), 0)
