from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.scenario import Data
from fedmed.errors import DataError
from fedmed.sites import sites_of
from fedmed.sites.readers.phantom import PhantomOptions, read_phantom


def test_four_hospitals_come_back_on_one_grid_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cases = read_phantom(None, PhantomOptions(share=0.1), 1)
    assert list(tmp_path.iterdir()) == []
    assert (cases.x.shape, cases.x.dtype) == ((34, 64, 64), np.float32)
    assert cases.classes == ("clear", "opacity")
    assert cases.site is not None
    assert len(set(cases.site.tolist())) == 4
    np.testing.assert_allclose(cases.x.mean(axis=(1, 2)), 0, atol=1e-4)


def test_the_seed_decides_every_pixel() -> None:
    once, again, other = (read_phantom(None, PhantomOptions(share=0.05, size=16), seed).x for seed in (1, 1, 2))
    assert (once == again).all()
    assert not (once == other).all()


def test_the_scanners_are_alike_after_reading() -> None:
    """Lungs dark, mediastinum bright at every hospital: spacing, rescale and MONOCHROME1 were understood."""
    cases = read_phantom(None, PhantomOptions(share=0.1), 3)
    assert cases.site is not None
    for name in set(cases.site.tolist()):
        mean = cases.x[cases.site == name].mean(axis=0)
        lung = (mean[24:36, 14:20].mean() + mean[24:36, 44:50].mean()) / 2
        assert mean[30:44, 30:34].mean() - lung > 0.8, name


def test_every_hospital_has_both_classes_to_train_on() -> None:
    for site in sites_of(Data(reader="phantom", options={"share": 0.3}), None, 42, ""):
        assert set(site.train.y.tolist()) == {0, 1}
        assert len(site.test) > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="file size limits are POSIX")
def test_a_full_temporary_folder_says_what_to_do() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(DataError, match=r"temporary folder .*set TMPDIR"):
            read_phantom(None, PhantomOptions(share=0.01), 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
