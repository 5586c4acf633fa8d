"""The process that gathers series killed with -9 around any commit: each is told of once, about all its images."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise
from tests.edge.series import Box
from tests.faults.points import MOMENT

ROOT = Path(__file__).resolve().parents[2]
SLICES, SERIES = 4, 2
COMMITS = 2 * SLICES * SERIES + 2 * SERIES
"""Of a run that nothing ends: each image is put and sorted, each series told and its two results sent."""


def lived(box: Path, images: Path, moment: str = "") -> bool:
    """Whether the process came to its end; else the kill ended it."""
    command = [sys.executable, "-m", "tests.edge.series_process", str(box), str(images)]
    env = {**os.environ, "FEDMED_BACKEND": "numpy", "PYTHONPATH": str(ROOT), MOMENT: moment}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(each, marks=pytest.mark.nightly) for each in range(1, 8))])
def test_whatever_commit_a_kill_falls_on_each_series_has_one_result_about_all_its_images(seed: int, tmp_path: Path):
    protocol, images, box = (
        Protocol(slices=SLICES, rows=16, columns=16, spacing_mm=(20.0, 20.0)),
        tmp_path / "in",
        tmp_path / "b",
    )
    expected, rng = dict[str, set[str]](), random.Random(seed)
    images.mkdir()
    datasets = [each for number in range(SERIES) for each in synthesise(3, f"{number}", protocol).slices]
    rng.shuffle(datasets)
    for number, dataset in enumerate(datasets):
        expected.setdefault(str(dataset.SeriesInstanceUID), set()).add(str(dataset.SOPInstanceUID))
        dataset.save_as(images / f"{number:03d}.dcm", enforce_file_format=True)
    moments = [f"commit {rng.choice(['before', 'after'])}:{rng.randint(1, COMMITS)}" for _ in range(3)]
    killed = sum(not lived(box, images, moment) for moment in moments)
    assert lived(box, images)
    assert killed > 0
    records = [json.loads(path.read_bytes()) for path in box.glob("results/*/*.json")]
    found = {each["sources"][0]["series"]: {one["sop_instance"] for one in each["sources"]} for each in records}
    assert (len(records), found) == (SERIES, expected)
    assert not any("replaces" in each for each in records)
    left = Box(box)
    assert left.waiting() == {"series": SERIES * (SLICES + 1)}
    assert left.dropped.drops == []
    assert left.spool.counts().entries["study"] == SERIES * SLICES
