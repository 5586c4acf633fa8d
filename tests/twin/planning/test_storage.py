from __future__ import annotations

import pytest

from fedmed.twin.planning.storage import center, commits, region, site


def test_ten_last_and_three_best_are_kept_in_float32_and_nothing_compresses_them():
    assert commits(1_000_000) == 13 * 4e6
    assert commits(1_000_000, states=2) == 3 * commits(1_000_000)


def test_a_site_holds_its_images_twice_and_a_fifth_stays_free():
    room = site(100, 512 * 512 * 200, 10_000_000)
    assert room.prepared == 2 * room.raw == 4 * 100 * 512 * 512 * 200
    assert room.total == pytest.approx((room.raw + room.prepared + 8e7) / 0.8)


def test_the_center_keeps_half_a_year_of_its_log():
    assert center(10, a_day=1000).total - center(10, a_day=0).total == pytest.approx(183 * 1000 * 2000 / 0.8)
    assert center(1000, 0, versions=5).registry == 5 * 4000
    assert region(1000).total == pytest.approx(8000 / 0.8)
