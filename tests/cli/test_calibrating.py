from __future__ import annotations

import json

import pytest

QUICK = ("calibrate", "--seconds", "0")


def test_an_entry_is_written_once(said, tmp_path, wards):
    out, bedside = tmp_path / "here.yaml", (str(wards / "bedside.yaml"), "--data", str(wards))
    code, told, err = said(*QUICK, *bedside, "--out", str(out), "--name", "ward-3", "--json")
    assert code == 0
    assert "1/" in err
    assert "  ward-3:" in out.read_text()
    assert {each["key"] for each in json.loads(told)["measured"]} >= {"speed.fp32", "bandwidth", "step", "used"}
    code, _, err = said(*QUICK, "--out", str(out))
    assert (code, "is there already" in err) == (2, True)


@pytest.mark.parametrize(("arguments", "says"), [(("--name", "Ward 3"), "--name: got 'Ward 3'"), (("nobody",), "'nobody'")])
def test_what_cannot_be_measured_is_refused(said, arguments, says):
    code, _, err = said(*QUICK, *arguments)
    assert (code, says in err) == (2, True)
