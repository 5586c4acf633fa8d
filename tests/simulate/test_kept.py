"""Algorithms by which a site keeps something, in whole runs: masked, taken up again, and in the report."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from fedmed.sites.shelves import FOLDER, FileShelf
from fedmed.store.commits import Commits
from fedmed.wire import tensors as wire

HOW = {"scaffold": "training.scaffold=true", "ditto": "training.ditto=0.5", "local": 'task.local=["1.bias"]'}
WORK = ("rounds=4", "engine.workers=2", "training.momentum=0", "strategy.name=fedavg", "training.average_last=1")


@pytest.fixture(scope="module", params=HOW)
def run(request, simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, simulated(folder, *WORK, HOW[request.param])


def model(folder) -> dict[str, np.ndarray]:
    return wire.load(folder / "model.safetensors")


def apart(one, other) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in other)


def test_the_center_has_the_model_alone(run):
    _, folder, _ = run
    assert set(model(folder)) == {"1.weight", "1.bias"}


def test_masked_sums_are_those_in_clear_within_their_rounding(run, simulated, tmp_path):
    how, folder, _ = run
    simulated(tmp_path / "clear", *WORK, HOW[how], "privacy.secure_aggregation=off")
    assert apart(model(tmp_path / "clear"), model(folder)) < 1e-5


def test_a_run_that_was_broken_off_ends_with_the_same_bits(run, simulated, tmp_path):
    how, folder, _ = run
    out = tmp_path / "again"
    shutil.copytree(folder, out)
    for path in (out / "commits").iterdir():
        if path.name > "round-000002":
            shutil.rmtree(path)
    assert max(Commits(out).rounds()) == 2
    simulated(out, *WORK, HOW[how], resume=True)
    assert (out / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    for number in range(3):
        ours, theirs = FileShelf(out, number).held(), FileShelf(folder, number).held()
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_each_site_keeps_its_own_and_the_report_says_what_it_is_worth(run):
    how, folder, report = run
    names = {"scaffold": "control/1.weight", "ditto": "personal/1.weight", "local": "local/1.bias"}
    held = [FileShelf(folder, number).held() for number in range(3)]
    assert all(f"4/{names[how]}" in each for each in held)
    assert not np.array_equal(held[0][f"4/{names[how]}"], held[1][f"4/{names[how]}"])
    personal = [site["personal"] for site in report["sites"].values()]
    assert all((each is not None) == (how == "ditto") for each in personal)
    assert (folder / FOLDER).is_dir()
    assert ("Ditto" in (folder / "report.html").read_text()) == (how == "ditto")
