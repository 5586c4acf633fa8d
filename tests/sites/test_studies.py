from __future__ import annotations

import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from fedmed.dicom import series
from fedmed.dicom.survey import survey
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.preprocess.fused import backends
from fedmed.preprocess.fused.window import Window
from fedmed.preprocess.grid import nearest_axes_grid, to_voxel
from fedmed.sites import studies
from fedmed.sites.cases import SetAside
from fedmed.sites.studies import Study, Target, Workshop, prepared
from fedmed.store.entries import Sealed
from fedmed.store.tensors import TensorStore

PROTOCOL = Protocol(slices=6, rows=32, columns=32, gap_mm=12.0, spacing_mm=(10.0, 10.0))
TARGET = Target((8, 16, 16), (9.0, 15.0, 15.0), (-1000.0, 400.0))
COUNT = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(COUNT):
        write(synthesise(3, f"{number}", PROTOCOL).slices, tmp_path / "site" / f"{number}")
    return tmp_path / "site"


def plainly(folder: Path) -> list[bytes]:
    """One after the other, by the parts."""
    found = survey(folder, pixels=False, workers=0)
    made = []
    for stack in found.stacks:
        volume = series.load(stack, found.instances)
        grid = nearest_axes_grid(volume.affine, volume.voxels.shape, TARGET.spacing_mm, TARGET.size)
        matrix, window = to_voxel(volume.affine, grid), Window(*TARGET.window)
        more = {"window": window, "padding": volume.padding, "fill": TARGET.window[0], "edge": "constant"}
        backend = backends.chosen()
        result = backend.resample(volume.voxels, volume.slope, volume.intercept, matrix, grid.shape, **more)
        made.append(backend.to_host(result).tobytes())
    return made


@pytest.mark.parametrize("workers", [1, 3])
def test_what_overlaps_has_the_order_and_the_bits_of_one_after_the_other(folder, workers):
    got = list(prepared(folder, Workshop(TARGET, workers=workers)))
    assert [each.image.tobytes() for each in got if isinstance(each, Study)] == plainly(folder)
    assert len({each.image.tobytes() for each in got}) == COUNT
    assert {each.kernel for each in got} == {("uint16", "stack")}


def test_a_volume_whose_pixels_fail_is_set_aside_in_its_place(folder):
    """Its files are cut short after the headers were read, while the first volumes are under way."""
    whole = list(prepared(folder, Workshop(TARGET)))
    victim = COUNT - 2

    def cut(what: str, done: int, total: int) -> None:
        if (what, done) == ("volumes", 1):
            for path in folder.glob("*/*.dcm"):
                if whole[victim].header.series.encode() in path.read_bytes():
                    path.write_bytes(path.read_bytes()[:-700])

    got = list(prepared(folder, Workshop(TARGET), cut))
    assert isinstance(got[victim], SetAside)
    assert got[victim].what == whole[victim].header.series
    for number, (one, other) in enumerate(zip(got, whole, strict=True)):
        assert number == victim or one.image.tobytes() == other.image.tobytes()


def test_two_volumes_are_in_memory_at_a_time(folder, monkeypatch):
    """Before a volume is decoded, all but one of those before it have been let go."""
    voxels: list[weakref.ref] = []

    def watched(*arguments, **options):
        deadline = time.monotonic() + 20
        while sum(each() is not None for each in voxels) > 1:
            assert time.monotonic() < deadline, "two volumes are held while a third is asked for"
            time.sleep(0.002)
        volume = series.load(*arguments, **options)
        voxels.append(weakref.ref(volume.voxels))
        return volume

    monkeypatch.setattr(studies, "load", watched)
    assert len(list(prepared(folder, Workshop(TARGET)))) == len(voxels) == COUNT


def test_files_that_were_only_touched_cost_no_kernel_and_a_half_written_cache_costs_its_entries_alone(folder, tmp_path):
    store = TensorStore(tmp_path / "cache", 2**28, pytest.fail, Sealed(bytes(32)))
    fresh = [each.image.tobytes() for each in prepared(folder, Workshop(TARGET, store))]
    entries = [path for path in (tmp_path / "cache").glob("??/*") if path.stat().st_size > 4 * np.prod(TARGET.size)]
    assert len(entries) == COUNT
    written = {path: path.stat().st_ino for path in entries}
    for path in folder.glob("*/*.dcm"):
        path.touch()
    entries[0].unlink()
    again = list(prepared(folder, Workshop(TARGET, store)))
    assert [each.image.tobytes() for each in again] == fresh
    assert all(path.stat().st_ino == written[path] for path in entries[1:])
    assert {each.kernel for each in prepared(folder, Workshop(TARGET, store))} == {("uint16", "stack")}
