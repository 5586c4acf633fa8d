from __future__ import annotations

import json

from tests.store.test_ledger import say


def test_a_site_can_see_what_left_it(fedmed, tmp_path):
    path = tmp_path / "north.jsonl"
    say(path, 1)
    say(path, 2)
    shown = fedmed("data", "ledger", "show", path)
    assert shown.returncode == 0
    assert all(word in shown.stdout for word in ("fingerprint", "run tiny", "Dr. Grey", "2023-11-14"))
    entries = json.loads(fedmed("data", "ledger", "show", path, "--json").stdout)
    assert [entry["statement"] for entry in entries] == ["statement 1", "statement 2"]
    assert fedmed("data", "ledger", "verify", path).stdout == "2 lines, all as written\n"
    assert json.loads(fedmed("data", "ledger", "verify", path, "--json").stdout) == {"lines": 2, "status": "ok"}


def test_a_ledger_that_was_touched_ends_with_an_error_that_names_the_line(fedmed, tmp_path):
    path = tmp_path / "north.jsonl"
    say(path, 1)
    say(path, 2)
    path.write_bytes(path.read_bytes().replace(b"Dr. Grey", b"Dr. Gray", 1))
    for command in ("show", "verify"):
        done = fedmed("data", "ledger", command, path)
        assert done.returncode == 5
        assert "line 2: it does not follow the line above" in done.stderr
    assert fedmed("data", "ledger", "verify", tmp_path / "none").returncode == 3


def test_an_empty_ledger_shows_nothing(fedmed, tmp_path):
    (tmp_path / "north.jsonl").write_text("")
    assert fedmed("data", "ledger", "show", tmp_path / "north.jsonl").stdout == "nothing has left this site\n"
