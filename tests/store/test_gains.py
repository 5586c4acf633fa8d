from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.store.gains import Gains
from fedmed.wire.asides import Aside

RUN = f"skin@{'ab' * 32}"


def seen(number: int, auc: float | None, loss: float = 0.5) -> Aside:
    return Aside(number, 12, {"auc": auc, "loss": loss})


def test_a_round_that_was_tried_again_counts_once_and_the_last_try(tmp_path: Path):
    gains = Gains(tmp_path)
    for number, auc in ((0, 0.5), (2, 0.6), (1, 0.55), (2, 0.75)):
        gains.note(RUN, seen(number, auc), 1.8e9 + number)
    gain = gains.the_one("skin@abab")
    assert [(each.round, each.figures["auc"]) for each in gain.seen] == [(0, 0.5), (1, 0.55), (2, 0.75)]
    assert (gain.reference, gain.leading, gain.ends(), gain.gained(), gain.unix) == (
        RUN,
        "auc",
        (0.5, 0.75),
        0.25,
        1.8e9 + 2,
    )
    assert gain.as_json()["rounds"][0] == {"round": 0, "cases": 12, "figures": {"auc": 0.5, "loss": 0.5}}
    assert {path.stat().st_mode & 0o077 for path in (gains.folder, *gains.folder.iterdir())} == {0}


def test_a_gain_needs_two_models_and_two_figures(tmp_path: Path):
    gains = Gains(tmp_path)
    gains.note(RUN, seen(0, 0.5), 1.0)
    assert gains.the_one("skin").gained() is None
    gains.note(RUN, seen(1, None), 1.0)
    assert gains.the_one("skin").gained() is None
    gains.note("lesions@00", Aside(0, 3, {"loss": 0.75}), 1.0)
    gains.note("lesions@00", Aside(1, 3, {"loss": 0.5}), 1.0)
    assert gains.the_one("lesions").gained() == 0.25, "a lower loss is better"


def test_the_newest_of_a_name_and_what_is_not_there(tmp_path: Path):
    gains = Gains(tmp_path)
    for number, digest in enumerate(("cc", "aa")):
        gains.note(f"skin@{digest}", seen(0, 0.1), 1.0)
        os.utime(gains.folder / f"skin@{digest}.jsonl", (number, number))
    assert gains.the_one("skin").reference == "skin@aa"
    assert gains.the_one("skin@c").reference == "skin@cc"
    for named in ("ski", "skin@b", "../skin", ""):
        with pytest.raises(ConfigError, match="there are: skin@cc, skin@aa"):
            gains.the_one(named)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]\n", b'{"unix": 1}\n', b"\xff\n", b'{"unix": 1.0, "round": 0}'])
def test_a_file_that_is_none(tmp_path: Path, content: bytes):
    gains = Gains(tmp_path)
    gains.note(RUN, seen(0, 0.5), 1.0)
    (gains.folder / f"{RUN}.jsonl").write_bytes(content)
    with pytest.raises(StoreError, match="nothing but this report needs it"):
        gains.the_one("skin")


def test_a_line_that_was_being_written_is_not_counted(tmp_path: Path):
    gains = Gains(tmp_path)
    gains.note(RUN, seen(0, 0.5), 1.0)
    with (gains.folder / f"{RUN}.jsonl").open("ab") as file:
        file.write(b'{"unix": 2.0, "rou')
    assert len(gains.the_one("skin").seen) == 1


def test_no_place_to_write(tmp_path: Path):
    (tmp_path / "gains").write_text("")
    with pytest.raises(StoreError, match="make room"):
        Gains(tmp_path).note(RUN, seen(0, 0.5), 1.0)
