from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.sites.readers.folder import FolderOptions, read_folder

SMALL = FolderOptions(size=8)


def test_each_folder_with_a_manifest_is_a_site(write_site) -> None:
    write_site("north", "path,label,patient,split\n1.png,ill,a,train\n2.png,well,b,test\n")
    root = write_site("east", "label,path,split,patient\nwell,1.png,train,a\n").parent
    (root / "east" / "1.png").write_bytes((root / "north" / "1.png").read_bytes())
    cases = read_folder(root, SMALL, 0)
    assert (cases.x.shape, cases.x.dtype) == ((3, 8, 8), np.float32)
    assert cases.site is not None
    assert cases.patient is not None
    assert cases.split is not None
    assert cases.site.tolist() == ["east", "north", "north"]
    assert cases.patient.tolist() == ["a", "a", "b"]
    assert cases.split.tolist() == ["train", "train", "test"]
    assert cases.classes == ("ill", "well")
    assert cases.y.tolist() == [1, 0, 1]


def test_the_folder_itself_may_be_the_one_site(write_site) -> None:
    cases = read_folder(write_site("north", "path,label\n1.png,a\n2.png,b\n"), SMALL, 0)
    assert cases.site is not None
    assert cases.site.tolist() == ["north", "north"]
    assert cases.patient is None
    assert cases.split is None


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ("path,label\n1.png,a\n../north/1.png,b\n", r"line 3: path '\.\./north/1\.png' leaves"),
        ("path,label\n1.png,a\n../../secret.png,b\n", r"line 3: path '\.\./\.\./secret\.png' leaves"),
        ("path,label\n1.png,a\n/etc/passwd,b\n", r"line 3: path '/etc/passwd' leaves"),
        ("path,label\n1.png,a\nabsent/2.png,b\n", r"line 3: path 'absent/2\.png' is not there"),
        ("path,label\n1.png,a\n1.png,b\n", "line 3: path '1.png' is already on line 2"),
        ("path,label\n1.png,a\n./1.png,b\n", "line 3: path './1.png' is already on line 2"),
        ("path,label,colour\n1.png,a,red\n", r"line 1: columns \['colour'\] are unknown; allowed are"),
        ("path,lable\n1.png,a\n", r"columns \['label'\] are missing"),
        ("path,label\n", "holds no cases"),
        ("", "holds no cases"),
        ("path,label\n1.png,a\n2.png,\n", r"line 3: column 'label' is missing"),
        ("path,label,patient\n1.png,a,p\n2.png,b,\n", r"line 3: column 'patient' is missing"),
        ("path,label,split\n1.png,a,train\n2.png,b,later\n", "line 3: split is 'later'"),
        ("path,label\n1.png,a\n2.png,a\n", "one label 'a'"),
    ],
)
def test_faults_name_file_and_line(write_site, manifest: str, complaint: str) -> None:
    folder = write_site("north", manifest)
    with pytest.raises(DataError, match=complaint) as refused:
        read_folder(folder, SMALL, 0)
    assert "north" in str(refused.value)


def test_a_label_that_is_no_class_is_named(write_site) -> None:
    folder = write_site("north", "path,label\n1.png,a\n2.png,b\n")
    with pytest.raises(DataError, match=r"manifest\.csv(?s:.*)line 3: label 'b' is unknown; the classes are a, c"):
        read_folder(folder, FolderOptions(classes=("a", "c")), 0)


def test_a_link_out_of_the_folder_is_refused(write_site, tmp_path: Path) -> None:
    folder = write_site("north", "path,label\n1.png,a\nlinked,b\n")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(DataError, match="'linked' leaves the site's folder"):
        read_folder(folder, SMALL, 0)


def test_two_sites_of_one_name_are_refused(write_site) -> None:
    write_site("North", "path,label\n1.png,a\n2.png,b\n")
    root = write_site("north", "path,label\n1.png,a\n2.png,b\n").parent
    with pytest.raises(DataError, match="'North' and 'north'"):
        read_folder(root, SMALL, 0)


@pytest.mark.parametrize("column", ["patient", "split"])
def test_an_optional_column_is_in_all_manifests_or_in_none(write_site, column: str) -> None:
    write_site("north", f"path,label,{column}\n1.png,a,train\n2.png,b,train\n")
    root = write_site("south", "path,label\n1.png,a\n2.png,b\n").parent
    with pytest.raises(DataError, match=rf"only \['north'\] have a {column} column"):
        read_folder(root, SMALL, 0)


def test_a_folder_without_manifests_is_named(write_site) -> None:
    root = write_site("north", "path,label\n1.png,a\n2.png,b\n").parent
    (root / "south").mkdir()
    with pytest.raises(DataError, match=r"site folders \['south'\] hold no manifest\.csv"):
        read_folder(root, SMALL, 0)


def test_images_of_any_size_meet_on_one_grid_in_colour_too(write_site) -> None:
    write_site("north", "path,label\n1.png,a\n2.png,b\n", shape=(30, 11))
    root = write_site("south", "path,label\n1.png,a\n2.png,b\n", shape=(5, 9)).parent
    assert read_folder(root, SMALL, 0).x.shape == (4, 8, 8)
    assert read_folder(root, FolderOptions(size=8, colour=True), 0).x.shape == (4, 3, 8, 8)
