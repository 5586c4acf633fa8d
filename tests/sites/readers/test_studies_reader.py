from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.dicom.synthetic.ct_phantom import Protocol, Series, synthesise, write
from fedmed.dicom.synthetic.traps import write_trap
from fedmed.errors import ConfigError, DataError
from fedmed.privacy import keys
from fedmed.sites.readers.nifti import write_nifti
from fedmed.sites.readers.studies import CACHE, CACHE_KEY, QUARANTINE, StudiesOptions, read_studies
from fedmed.store.quarantine import Quarantine

PROTOCOL = Protocol(slices=8, rows=32, columns=32, gap_mm=12.0, spacing_mm=(10.0, 10.0))
SMALL = StudiesOptions(size=(8, 16, 16), spacing_mm=(12.0, 20.0, 20.0), workers=1)


def study(folder: Path, name: str, lesions: int = 0) -> Series:
    series = synthesise(7, name, PROTOCOL, lesions)
    write(series.slices, folder / name)
    return series


def table(site: Path, rows: list[tuple[str, ...]]) -> None:
    with (site / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def uid(series: Series) -> str:
    return str(series.slices[0].SeriesInstanceUID)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """One site of three studies, two of them labelled as clear."""
    site = tmp_path / "data" / "lyon"
    made = [study(site, name, lesions) for name, lesions in (("a", 0), ("b", 3), ("c", 0))]
    labels = ("clear", "lesion", "clear")
    table(site, [("series", "label"), *((uid(series), label) for series, label in zip(made, labels, strict=True))])
    return site


def write_mask(path: Path, series: Series, values: np.ndarray) -> None:
    write_nifti(path, values.astype(np.uint8), series.affine)


def test_volumes_are_joined_with_their_labels(site: Path) -> None:
    cases = read_studies(site.parent, SMALL, 0)
    assert (cases.x.shape, cases.x.dtype, cases.spatial) == ((3, 8, 16, 16), np.float32, 3)
    assert cases.classes == ("clear", "lesion")
    assert cases.y.tolist() == [0, 1, 0]
    assert cases.site is not None
    assert set(cases.site) == {"lyon"}
    assert not cases.set_aside
    assert cases.kernels == (("uint16", "stack"),)
    assert cases.patient is not None
    assert len(set(cases.patient)) == 3


@pytest.mark.parametrize(("column", "attribute"), [("study", "StudyInstanceUID"), ("accession", "AccessionNumber")])
def test_labels_may_name_studies_and_accession_numbers(tmp_path: Path, column: str, attribute: str) -> None:
    site = tmp_path / "graz"
    rows = []
    for name, label in (("a", "no"), ("b", "yes")):
        series = synthesise(7, name, PROTOCOL)
        for dataset in series.slices:
            dataset.AccessionNumber = f"ACC{name}"
        write(series.slices, site / name)
        rows.append((str(series.slices[0][attribute].value), label))
    table(site, [(column, "label"), *rows])
    assert read_studies(tmp_path, SMALL, 0).y.tolist() == [0, 1]


def test_one_bad_study_is_named_and_the_others_go_on(site: Path) -> None:
    paths = write_trap("duplicate-slice", site / "bad", 3, PROTOCOL)
    import pydicom

    bad = str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
    with (site / "labels.csv").open("a", newline="") as stream:
        csv.writer(stream).writerow((bad, "lesion"))
    cases = read_studies(site.parent, SMALL, 0)
    assert len(cases) == 3
    [(where, aside)] = cases.set_aside
    assert (where, aside.what, aside.reason) == ("lyon", bad, "duplicate-slices")


def test_a_row_without_a_volume_is_named(site: Path) -> None:
    with (site / "labels.csv").open("a", newline="") as stream:
        csv.writer(stream).writerow(("1.2.3", "lesion"))
    [(_, aside)] = read_studies(site.parent, SMALL, 0).set_aside
    assert (aside.what, aside.reason) == ("1.2.3", "not-found")


def test_one_label_for_two_volumes_says_not_which(tmp_path: Path) -> None:
    site = tmp_path / "graz"
    one, other = synthesise(7, "a", PROTOCOL), synthesise(7, "b", PROTOCOL)
    for dataset in other.slices:
        dataset.StudyInstanceUID = one.slices[0].StudyInstanceUID
    write(one.slices, site / "a")
    write(other.slices, site / "b")
    third = study(site, "c")
    rows = [(str(one.slices[0].StudyInstanceUID), "no"), (str(third.slices[0].StudyInstanceUID), "yes")]
    table(site, [("study", "label"), *rows])
    cases = read_studies(tmp_path, SMALL, 0)
    assert cases.y.tolist() == [1]
    assert [aside.reason for _, aside in cases.set_aside] == ["ambiguous"]


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    site = tmp_path / "lyon"
    site.mkdir()
    table(site, [("series", "label"), ("1.2", "a"), ("1.3", "b")])
    with pytest.raises(DataError, match="none of its 2 rows has a volume that can be used"):
        read_studies(tmp_path, SMALL, 0)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("series", "study", "label"), ("1", "2", "a")], "exactly one of them"),
        ([("label",), ("a",)], "exactly one of them"),
        ([("series", "label", "mask"), ("1", "a", "m.nii")], "exactly one of them"),
        ([("series", "label"), ("1", "a"), ("1", "b")], "line 3: 1 is already on line 2"),
        ([("series", "label"), ("1", "a"), ("2", "a")], "the one label 'a'"),
        ([("series", "label", "split"), ("1", "a", "holdout"), ("2", "b", "test")], "line 2: split is 'holdout'"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(site: Path, rows, complaint: str) -> None:
    table(site, rows if "split" not in rows[0] else [rows[0], *known(site, rows[1:])])
    with pytest.raises(DataError, match=complaint):
        read_studies(site.parent, SMALL, 0)


def known(site: Path, rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows with ids of studies that are there."""
    with (site / "labels.csv").open() as stream:
        ids = [row[0] for row in csv.reader(stream)][1:]
    return [(uid, *row[1:]) for uid, row in zip(ids, rows, strict=False)]


def masked_site(tmp_path: Path) -> tuple[Path, list[Series]]:
    site = tmp_path / "data" / "turku"
    made = [study(site, name, 4) for name in ("a", "b")]
    for number, series in enumerate(made):
        write_mask(site / f"{number}.nii", series, series.mask)
    table(site, [("series", "mask"), *((uid(series), f"{number}.nii") for number, series in enumerate(made))])
    return site, made


def test_masks_lie_on_their_volumes(tmp_path: Path) -> None:
    _, made = masked_site(tmp_path)
    own = StudiesOptions(size=PROTOCOL.shape, spacing_mm=(12.0, 10.0, 10.0), workers=1)
    cases = read_studies(tmp_path / "data", own, 0)
    assert cases.classes == ("background", "foreground")
    for series in made:
        assert series.mask.any()
        assert any(np.array_equal(mask.astype(bool), series.mask) for mask in cases.y)


def test_slices_become_images_and_a_patients_stay_together(tmp_path: Path) -> None:
    masked_site(tmp_path)
    cases = read_studies(tmp_path / "data", SMALL.model_copy(update={"slices": True}), 0)
    assert (cases.x.shape, cases.y.shape, cases.spatial) == ((16, 16, 16), (16, 16, 16), 2)
    assert cases.patient is not None
    assert len(set(cases.patient[:8])) == len(set(cases.patient[8:])) == 1


def test_slices_need_masks(site: Path) -> None:
    with pytest.raises(ConfigError, match="does not say which"):
        read_studies(site.parent, SMALL.model_copy(update={"slices": True}), 0)


@pytest.mark.parametrize("fault", ["gone", "outside", "label", "damaged"])
def test_a_mask_that_cannot_be_used_sets_its_study_aside(tmp_path: Path, fault: str) -> None:
    site, made = masked_site(tmp_path)
    if fault == "gone":
        (site / "1.nii").unlink()
    elif fault == "outside":
        write_mask(tmp_path / "1.nii", made[1], made[1].mask)
        (site / "1.nii").unlink()
        (site / "1.nii").symlink_to(tmp_path / "1.nii")
    elif fault == "label":
        write_mask(site / "1.nii", made[1], made[1].mask * 5)
    else:
        (site / "1.nii").write_bytes(b"no image")
    cases = read_studies(tmp_path / "data", SMALL, 0)
    assert len(cases) == 1
    assert (uid(made[1]), "bad-mask") in [(aside.what, aside.reason) for _, aside in cases.set_aside]


def test_kept_tensors_are_the_same_and_follow_their_files(site: Path, tmp_path: Path, monkeypatch) -> None:
    fresh = read_studies(site.parent, SMALL, 0)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    made, kept = read_studies(site.parent, SMALL, 0), read_studies(site.parent, SMALL, 0)
    assert np.array_equal(fresh.x, made.x)
    assert np.array_equal(made.x, kept.x)
    path = site / "a" / "0003.dcm"
    content = bytearray(path.read_bytes())
    content[-2000:] = bytes(2000)
    path.write_bytes(content)
    changed = read_studies(site.parent, SMALL, 0)
    assert not np.array_equal(kept.x, changed.x)


def test_kept_tensors_spare_the_decoding(site: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    before = read_studies(site.parent, SMALL, 0)

    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("a volume was decoded although its tensor is kept")

    monkeypatch.setattr("fedmed.sites.studies.load", decoded)
    assert np.array_equal(read_studies(site.parent, SMALL, 0).x, before.x)
    wider = SMALL.model_copy(update={"window": (-500.0, 500.0)})
    with pytest.raises(AssertionError):
        read_studies(site.parent, wider, 0)


def test_kept_tensors_are_sealed_by_the_users_own_key_or_another_or_written_off(site: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    fresh, clear = read_studies(site.parent, SMALL, 0).x, {}
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    keys.create(tmp_path / "other.key")
    for source in ("", "off", f"file:{tmp_path / 'other.key'}"):
        monkeypatch.setenv(CACHE_KEY, source)
        assert np.array_equal(read_studies(site.parent, SMALL, 0).x, fresh)
        kept = [path.read_bytes() for path in (tmp_path / "cache").glob("??/*")]
        clear[source[:5]] = {b"data_offsets" in each for each in kept}
    assert clear == {"": {False}, "off": {True}, "file:": {False}}
    assert (tmp_path / "own" / "fedmed" / "cache.key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(CACHE_KEY, "pass:word")
    with pytest.raises(ConfigError, match="credential:NAME"):
        read_studies(site.parent, SMALL, 0)


def test_compressed_studies_are_read_and_a_damaged_one_costs_itself_alone(site: Path) -> None:
    import pydicom
    from pydicom.uid import RLELossless

    fresh = read_studies(site.parent, SMALL, 0)
    for path in sorted(site.glob("*/*.dcm")):
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    assert np.array_equal(read_studies(site.parent, SMALL, 0).x, fresh.x)
    victim = site / "b" / "0004.dcm"
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    cases = read_studies(site.parent, SMALL, 0)
    assert len(cases) == 2
    [(_, aside)] = cases.set_aside
    assert aside.reason in ("truncated", "decode-failed", "unreadable")


def test_a_segmentation_object_is_a_mask(tmp_path: Path) -> None:
    from tests.dicom.segments import written

    site, made = masked_site(tmp_path)
    rows = []
    for number, series in enumerate(made):
        for dataset in series.slices:
            dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = dataset.StudyID = ""
            dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
        written(site / f"{number}.seg", series.slices, series.mask[..., None], ("Nodule",))
        rows.append((uid(series), f"{number}.seg"))
    drawn = read_studies(tmp_path / "data", SMALL, 0)
    table(site, [("series", "mask"), *rows])
    cases = read_studies(tmp_path / "data", SMALL, 0)
    assert not cases.set_aside
    assert np.array_equal(cases.y, drawn.y)
    assert cases.y.any()


def test_what_a_person_released_is_trained_on_and_what_nobody_did_is_kept_on_record(site: Path, tmp_path: Path, monkeypatch):
    import pydicom

    for name, keyword, value in (("a", "BurnedInAnnotation", "YES"), ("c", "BurnedInAnnotation", "YES")):
        for path in (site / name).iterdir():
            dataset = pydicom.dcmread(path)
            setattr(dataset, keyword, value)
            dataset.save_as(path)
    monkeypatch.setenv(QUARANTINE, str(tmp_path / "quarantine"))
    assert len(read_studies(site.parent, SMALL.model_copy(update={"classes": ("clear", "lesion")}), 0)) == 1
    quarantine = Quarantine(tmp_path / "quarantine", SystemClock())
    records, _ = quarantine.records()
    assert [record.case.reason.value for record in records] == ["burned-in-text"] * 2
    quarantine.release(records[0].id, "Dr. Frey", "nothing is written in it")
    cases = read_studies(site.parent, SMALL, 0)
    assert len(cases) == 2
    assert [aside.what for _, aside in cases.set_aside] == [records[1].case.subject]


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("PixelSpacing", ["1e-300", "1e-300"], "no-geometry"),
        ("PixelSpacing", ["1e-9", "10"], "no-geometry"),
        ("RescaleSlope", "1e39", "bad-attribute"),
        ("RescaleSlope", "1e-300", "bad-attribute"),
        ("RescaleSlope", "nan", "bad-attribute"),
        ("RescaleIntercept", "-1e300", "bad-attribute"),
    ],
)
def test_numbers_that_no_scanner_writes_cost_their_own_study(
    site: Path, keyword: str, value, reason: str, monkeypatch
) -> None:
    import pydicom

    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
    for path in (site / "c").iterdir():
        dataset = pydicom.dcmread(path)
        dataset[keyword] = pydicom.DataElement(dataset[keyword].tag, "DS", value, validation_mode=pydicom.config.IGNORE)
        dataset.save_as(path)
    cases = read_studies(site.parent, SMALL, 0)
    assert len(cases) == 2
    assert {aside.reason for _, aside in cases.set_aside} == {reason}


def test_a_single_slice_thinner_than_light_has_no_thickness(site: Path) -> None:
    import pydicom

    for path in sorted((site / "c").iterdir())[1:]:
        path.unlink()
    [path] = (site / "c").iterdir()
    dataset = pydicom.dcmread(path)
    dataset.SliceThickness = "1e-310"
    dataset.save_as(path)
    [(_, aside)] = read_studies(site.parent, SMALL, 0).set_aside
    assert aside.reason == "no-geometry"
