"""Records of rounds that never were, as a center would have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.federation.pace import Past, Seen
from fedmed.store.commits import Commit, Commits
from fedmed.twin.recording import behind_head, on_line
from fedmed.twin.records import Exchange, Records, RoundSeen

SCENARIO = """\
name: line
title: Numbers
rounds: 100
data: {{reader: csv, split: {{test: 0.2, validation: {held}}}}}
task: {{name: tabular-mlp}}
training: {{batch_size: 16, epochs: 2}}
evaluation: {{every: {every}}}
"""
BEGAN = 1.8e9
CENTER_S = 0.5


def scenario(held: float = 0.0, every: int = 1) -> Scenario:
    return parse(SCENARIO.format(held=held, every=every), "line.yaml")


def records(
    sites: Mapping[str, tuple[float, float, float]],
    size: float,
    rounds: int = 3,
    missing: Mapping[int, Mapping[str, str]] | None = None,
    every: int = 1,
) -> Records:
    """Of sites that need so many seconds for training, with lines of so many bytes a second up and down."""
    seen, at = list[RoundSeen](), BEGAN
    for number in range(2, rounds + 2):
        gone = (missing or {}).get(number, {})
        there = {name: each for name, each in sites.items() if name not in gone}
        is_cached = every == 1
        down = {name: on_line(size) / each[2] for name, each in there.items()}
        train = {n: each[0] + on_line(size) / each[1] + (0 if is_cached else down[n]) for n, each in there.items()}
        asked = Exchange(at, train)
        validate = Exchange(at + asked.seconds, down) if every == 1 else None
        seconds = asked.seconds + (validate.seconds if validate else 0.0) + CENTER_S
        moved, count = size * len(sites), 1 if validate is None else 2
        seen.append(
            RoundSeen(number, at, seconds, asked, validate, moved, moved * count, tuple(sorted(sites)), dict(gone))
        )  # fmt: skip
        at += seconds
    line = {name: on_line(behind_head(size)) / each[1] for name, each in sites.items()}
    pasts = {
        (name, "train"): Past(tuple(Seen(each[0] + on_line(size) / each[1], line[name], 100.0) for _ in range(3)))
        for name, each in sites.items()
    }
    return Records("line", scenario(every=every), dict.fromkeys(sites, 50), tuple(seen), pasts)


def written(center: Path, rounds: int = 3) -> Path:
    """The folder of a center with one run of three sites; returns the run's."""
    folder = center / "runs" / "line"
    folder.mkdir(parents=True)
    (center / "center.yaml").write_text("federation: study\n")
    (folder / "state.json").write_text("{}")
    sites = ("east", "north", "south")
    events: list[dict[str, Any]] = [{"event": "met", "unix": BEGAN, "sites": dict.fromkeys(sites, 50)}]
    history = []
    for number in range(1, rounds + 1):
        at = BEGAN + 20.0 * number
        events.append({"event": "round", "unix": at, "round": number, "attempt": 1})
        for kind, after in (("train", 10.0), ("evaluate", 19.0)):
            events += [{"event": "answered", "unix": at + after, "round": number, "kind": kind, "site": s} for s in sites]
        events.append({"event": "committed", "unix": at + 19.5, "round": number})
        history.append(
            {
                "round": number, "attempt": 1, "cohort": list(sites), "missing": {}, "refused": {},
                "bytes": {"down": 240e6, "up": 120e6},
                "phases": {"train": 10.0, "open": 0.1, "aggregate": 0.0, "validate": 9.0},
            }
        )  # fmt: skip
    (folder / "journal.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    state = {"scenario": scenario(0.1).model_dump(mode="json"), "history": history, "resumed": []}
    Commits(folder).write(Commit(rounds, {"w": np.zeros(2, np.float32)}, state))
    train = {"missed": 0, "seen": [[10.0, 7.9, 100]] * 3}
    word = {"missed": 0, "seen": [[0.06, 0.0, 1]]}
    told = {"seen": {site: {"train": train, "query.protocol": word} for site in sites}, "waits": {}}
    (folder / "pace.json").write_text(json.dumps(told))
    return folder
