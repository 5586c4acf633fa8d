from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fedmed.cli.searching import Options, run
from fedmed.errors import ConfigError, FederationError
from tests.twin.search.planted import PLANTED


def test_a_search_that_finds_nothing(capsys):
    run(Options(seeds=2, first=3, jobs=1, replay=None, as_json=True))
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["first"], told["seeds"], told["findings"]) == (3, 2, [])
    assert "2 of 2 seeds" in err


def test_a_finding_ends_the_command_and_says_how_to_see_it_again(capsys, monkeypatch):
    PLANTED["stale_head"](monkeypatch)
    with pytest.raises(FederationError, match="1 of 1 seeds break an invariant") as caught:
        run(Options(seeds=1, first=0, jobs=1, replay=None, as_json=False))
    assert caught.value.exit_code == 4
    out, _ = capsys.readouterr()
    assert "again: fedmed twin search --replay 0" in out
    with pytest.raises(FederationError, match="seed 0 breaks an invariant"):
        run(Options(seeds=1, first=0, jobs=1, replay=0, as_json=True))
    told = json.loads(capsys.readouterr().out)
    assert told["finding"]["invariant"] in str(told)
    assert told["trace"]


def test_a_replay_has_the_same_trace_each_time(capsys):
    traces = []
    for _ in range(2):
        run(Options(seeds=1, first=0, jobs=1, replay=9, as_json=False))
        traces.append(capsys.readouterr().out)
    assert traces[0] == traces[1]
    assert "every invariant holds" in traces[0]


@pytest.mark.parametrize(
    ("wrong", "named"), [({"seeds": 0}, "--seeds"), ({"first": -1}, "--first"), ({"jobs": 0}, "--jobs")]
)
def test_numbers_that_no_search_has_are_refused(wrong, named):
    options = {"seeds": 1, "first": 0, "jobs": 1, "replay": None, "as_json": False, **wrong}
    with pytest.raises(ConfigError, match=named):
        run(Options(**options))


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="--replay"):
        run(Options(seeds=1, first=0, jobs=1, replay=-1, as_json=False))


def test_the_command_is_there():
    from fedmed.cli.twin import twin

    assert "--replay" in CliRunner().invoke(twin, ["search", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
