from __future__ import annotations

from fedmed.cli.edging import _row

IMAGE = {
    "unix": 1.7e9,
    "model": {"name": "chest", "version": "2"},
    "classes": ["well", "ill"],
    "probabilities": [0.25, 0.75],
    "sources": [{"sop_instance": "1.2.3", "series": "1.2"}],
}


def test_a_result_is_shown_with_its_image_and_a_series_with_how_many_of_its_images():
    assert _row(IMAGE) == {"when": _row(IMAGE)["when"], "image": "1.2.3", "model": "chest 2", "said": "ill 75%, well 25%"}
    series = {**IMAGE, "series": {"used": 48, "came": 49}}
    assert _row(series)["image"] == "series 1.2, 48 of 49 images"
    assert _row({**series, "replaces": "1.9"})["image"].endswith(", in place of an earlier result")


def test_a_series_without_a_result_is_shown_with_the_reason():
    told = {
        "unix": 1.7e9,
        "model": None,
        "reason": "no-model",
        "sentence": "none\x1b[31m runs",
        "series_instance": "1.2",
        "series": {"used": 0, "came": 3},
    }
    row = _row(told)
    assert (row["image"], row["model"]) == ("series 1.2, 0 of 3 images", "no model")
    assert row["said"].startswith("no result, no-model: none")
    assert "\x1b" not in row["said"]
