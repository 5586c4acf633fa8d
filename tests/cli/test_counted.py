from __future__ import annotations

from fedmed.cli.counted import Countdown


def test_what_is_left_follows_from_what_was_done_here(capsys):
    now = [100.0]
    with Countdown("runs", 2, 5, lambda: now[0]) as count:
        now[0] = 130.0
        count.ended("3 (lr=1): complete")
        assert count.left_s == 60.0
        now[0] = 160.0
        count.ended("4: it broke")
        count.ended("5: complete")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "3 of 5 runs, about 1 min 0 s left: 3 (lr=1): complete",
        "4 of 5 runs, about 30.0 s left: 4: it broke",
        "5 of 5 runs: 5: complete",
    ]
