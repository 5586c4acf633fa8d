from __future__ import annotations

import io
import json
import time

import pytest
from rich.console import Console

from fedmed.cli.progress import Bar, Lines, Watcher, describe

START = {"event": "start", "rounds": 4, "round": 0}
DONE = {"event": "committed", "round": 1, "train": {"loss": 0.5}, "validation": {"loss": 0.7, "auc": 0.81}, "seconds": 1.0}
STRANGE = "[/red] [bold]Sant’Anna[/x]"  # what a site may call itself

EPOCH = {"mode": "malicious", "epoch": 1, "members": 4, "colluders": 1, "rounds": 15, "least": 3, "without": []}

EVENTS = [
    (
        {"event": "virtual", "masks": "real", "members": {"a": "all/1", "b": "all/2"}},
        "virtual time: 2 clinics on the topology's machines and lines",
    ),
    ({"event": "virtual", "masks": "none", "members": {}}, ", and no update is masked"),
    ({"event": "preparing", "scenario": "heart", "rounds": 4}, "preparing heart"),
    ({"event": "met", "sites": {"north": 40, "south": 3}}, "2 sites: north (40), south (3)"),
    ({"event": "resumed", "round": 3}, "going on after round 3"),
    ({"event": "begun-anew", "sites": {STRANGE: 2}}, f"{STRANGE} trained when the run stopped, and begin anew"),
    (
        {"event": "gate", "sites": 3, "findings": [{"site": STRANGE, "weight": "warns", "sentence": "its images lie"}]},
        f"site {STRANGE}: its images lie",
    ),
    ({"event": "damaged", "fault": "commit of round 4 is torn"}, "passed over: commit of round 4 is torn"),
    (
        {"event": "holds", "strategy": "FedMedian", "bytes": 5e6, "sites": 4},
        "needs every update at once: about 5 MB",
    ),
    ({"event": "failed", "round": 2, "kind": "train", "site": STRANGE, "reason": "broken"}, f"{STRANGE} failed: broken"),
    ({"event": "refused", "round": 2, "kind": "train", "site": "north", "reason": "NaN"}, "round 2: north refused: NaN"),
    ({"event": "late", "site": STRANGE}, f"{STRANGE} answered too late"),
    ({"event": "folded", "site": STRANGE, "round": 3, "of": 2}, f"round 3: {STRANGE}'s update of round 2 goes into it"),
    (
        {"event": "site-log", "sites": [STRANGE, "north"], "line": "left out: [/x]\x1b"},
        f"{STRANGE} and north to their own staff (ledgers/*.log): left out: [/x]\\x1b",
    ),
    (
        {"event": "short", "round": 2, "attempt": 1, "lacks": ["1 of 4 sites joined"], "missing": {}},
        "round 2, attempt 1: 1 of 4",
    ),
    ({"event": "privacy", "secure_aggregation": "off"}, "the center sees every site's update, counts and metrics"),
    ({"event": "privacy", "secure_aggregation": "hbc"}, "mode hbc, which is weaker"),
    ({"event": "epoch", **EPOCH}, "What the center can learn: sums over at least 3 of 4 sites."),
    ({"event": "epoch", **EPOCH, "without": [STRANGE]}, f"of 4 sites. Without {STRANGE}."),
    ({"event": "epoch", **EPOCH, "mode": "hbc"}, "3 of 4 sites, if it told every site the same survivors."),
    (
        {"event": "left-out", "site": STRANGE, "reason": "no answer"},
        f"{STRANGE} is left out of secure aggregation: no answer",
    ),
    (
        {"event": "unopened", "round": 2, "purpose": "update", "reason": "2 revealed"},
        "Round 2: the sum of the updates could not be opened, and nothing was learned of it: 2 revealed.",
    ),
    ({"event": "accused", "number": 3, "members": [2], "sites": [STRANGE]}, f"Shares that {STRANGE} showed do not fit"),
    ({"event": "unheard", "member": 2, "site": STRANGE, "reason": "late"}, f"{STRANGE} did not help to open a sum: late"),
]
LIE = {"event": "lie", "round": 2, "site": STRANGE, "kind": "round used before", "how": "a round once more"}
EVENTS.append(({**LIE, "is_answered": True}, f"round 2: {STRANGE} ANSWERED a round once more"))
SILENT = [
    {**LIE, "is_answered": False},
    {"event": "round", "round": 1, "attempt": 1},
    {"event": "answered", "round": 1, "kind": "train", "site": "north"},
    {"event": "privacy", "secure_aggregation": "malicious"},
    {"event": "survivors", "number": 1, "survivors": [1, 2, 3]},
    {"event": "evaluating"},
    {"event": "end", "round": 4},
    {"event": "done", "status": "complete"},
]


@pytest.mark.parametrize(("event", "words"), EVENTS, ids=[f"{n} {event['event']}" for n, (event, _) in enumerate(EVENTS)])
def test_what_a_person_wants_to_know_is_said_in_words(event, words, capsys):
    assert words in describe(event)
    Lines().event(event)
    assert capsys.readouterr().err == describe(event) + "\n"


def test_a_gate_that_finds_nothing_or_little_says_so_in_a_line():
    assert (
        describe({"event": "gate", "sites": 3, "findings": []}) == "3 sites prepare their images alike, and they lie alike"
    )
    few = [{"site": f"s{n:02d}", "weight": "notes", "sentence": "too few"} for n in range(20)]
    assert describe({"event": "gate", "sites": 20, "findings": few}).endswith("s10, s11, 20 sites")


@pytest.mark.parametrize("event", SILENT, ids=lambda event: event["event"])
def test_the_rest_is_not_said(event, capsys):
    Lines().event(event)
    assert capsys.readouterr().err == ""


def test_a_round_is_a_line_with_what_is_left(capsys):
    lines = Lines()
    for event in (START, DONE, {**DONE, "round": 2, "validation": None}):
        lines.event(event)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "round 1/4: train loss 0.500, validation AUC 0.810, about 0 s of rounds left"
    assert second == "round 2/4: train loss 0.500, about 0 s of rounds left"


def test_a_validation_without_an_auc_is_no_trouble(capsys):
    lines = Lines()
    lines.event(START)
    lines.event({**DONE, "train": {"loss": None}, "validation": {"loss": 0.7, "auc": None}})
    assert capsys.readouterr().err.startswith("round 1/4:")


def test_a_bar_shows_names_as_they_are():
    screen = io.StringIO()
    bar = Bar(Console(file=screen, force_terminal=True, width=160))
    for event in (START, *(event for event, _ in EVENTS), *SILENT, {**SILENT[1], "site": STRANGE}):
        bar.event(event)
    bar.event(DONE)
    bar.event({"event": "comparing", "models": 2})
    bar.event({"event": "compared", "name": STRANGE})
    bar.close()
    text = screen.getvalue()
    assert STRANGE in text
    for words in ("rounds", "1/4", "train loss 0.500, validation AUC 0.810", "models to compare with", "1/2"):
        assert words in text


@pytest.mark.parametrize(
    ("event", "colour"),
    [
        ({"event": "privacy", "secure_aggregation": "off"}, "\x1b[1;31m"),
        ({"event": "privacy", "secure_aggregation": "hbc"}, "\x1b[33m"),
        ({"event": "epoch", **EPOCH}, "\x1b[2m"),
        ({**LIE, "site": "north", "is_answered": True}, "\x1b[1;31m"),
    ],
)
def test_a_terminal_shows_off_in_red_and_hbc_in_amber(event, colour, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = io.StringIO()
    bar = Bar(Console(file=screen, force_terminal=True, color_system="standard", width=200))
    bar.event(event)
    bar.close()
    assert colour + describe(event).split(".")[0] in screen.getvalue()


def test_a_bar_may_hear_an_answer_before_it_knows_of_rounds():
    bar = Bar(Console(file=io.StringIO(), force_terminal=True))
    bar.event(SILENT[1])
    bar.close()


def test_the_watcher_tells_what_is_new_and_nothing_of_the_run_before(tmp_path, capsys):
    journal = tmp_path / "journal.jsonl"
    journal.write_text(json.dumps({"event": "resumed", "round": 1}) + "\n")
    with Watcher(tmp_path) as watcher:
        with journal.open("a") as file:
            file.write(json.dumps({"event": "resumed", "round": 2}) + "\n")
            file.write('{"event": "resumed", "rou')
            file.flush()
            time.sleep(0.3)
            file.write('nd": 3}\nnot json\n')
            file.write(json.dumps({"event": "resumed", "round": 4}) + "\n")
        watcher.close()
        watcher.close()
    assert capsys.readouterr().err.splitlines() == [f"going on after round {number}" for number in (2, 3, 4)]


def test_a_journal_that_comes_and_goes_is_no_trouble(tmp_path, capsys):
    journal = tmp_path / "run" / "journal.jsonl"
    with Watcher(tmp_path / "run"):
        journal.parent.mkdir()
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            journal.write_text(json.dumps(EVENTS[0][0]) + "\n")
            journal.unlink()
    assert "Traceback" not in capsys.readouterr().err


def test_a_committed_round_tells_the_measure_it_has():
    from fedmed.cli.progress import _loss

    assert (
        _loss({"train": {"loss": 0.5}, "validation": {"loss": 1.0, "dice": 0.75}})
        == "train loss 0.500, validation Dice 0.750"
    )
    for error, shown in ((0.001, ""), (0.0142, " ± 0.014")):
        validation = {"loss": 1.0, "auc": 0.75, "auc_error": error}
        assert _loss({"train": {"loss": None}, "validation": validation}) == f"validation AUC 0.750{shown}"
    assert (
        _loss({"train": {"loss": 0.5}, "validation": {"loss": 1.0, "auc": 0.75}}) == "train loss 0.500, validation AUC 0.750"
    )
    assert _loss({"train": {"loss": 0.5}, "validation": {"loss": 1.0, "dice": None}}) == "train loss 0.500"
    assert _loss({"train": {"loss": 0.5}, "validation": None}) == "train loss 0.500"
