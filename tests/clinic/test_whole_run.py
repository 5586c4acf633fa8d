"""Real runs, every message of which is held against a clinic's approval: nothing honest is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmed.clinic.approving import draft
from fedmed.clinic.judging import judge
from fedmed.clinic.registering import register
from fedmed.config.loading import parse
from fedmed.errors import NotApproved
from fedmed.flower.arrays import all_views
from fedmed.flower.guard import Guarded
from fedmed.flower.proposal import text_of
from fedmed.identity.proposal import Proposal, built_in, offered
from fedmed.simulate.run import Request, simulate
from fedmed.sites.own import Source
from tests.clinic.staff import PLAIN, POLICY, SCENARIO, WHEELS
from tests.clinic.test_releasing import NOW

RUN = ("rounds=3", "data.options={site: ward}", "engine={workers: 0, device: cpu}", "evaluation.baselines=false")


def three_wards(path: Path) -> Path:
    random, lines = np.random.default_rng(1), ["ward,age,pressure,label"]
    for ward in ("east", "north", "west"):
        for _ in range(60):
            age, pressure = random.normal(60, 9), random.normal(130, 15)
            lines.append(f"{ward},{age:.1f},{pressure:.1f},{int(age + pressure / 3 + random.normal(0, 9) > 103)}")
    (path / "wards").mkdir()
    (path / "wards" / "cases.csv").write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "changes",
    [
        ("data.normalise=federated", "task.class_weights=balanced"),
        ("strategy={name: fedadam}", "training.schedule=cosine", "data.normalise=site"),
        (
            "privacy.differential_privacy={mode: clinic, epsilon: 50, delta: 0.001}",
            "federation.gate=off",
            "task.class_weights=none",
        ),
    ],
)
def test_a_run_is_done_as_it_was_approved(tmp_path, monkeypatch, changes):
    data = three_wards(tmp_path)
    scenario = parse(SCENARIO, "s", [*RUN, *changes])
    source = Source("csv", str(data / "wards"), {"site": "ward"}, "north", scenario.data.split, scenario.seed)
    dataset = register("wards", source, "north", tmp_path / "scratch", NOW).dataset
    what = offered(Proposal(run="r", scenario=scenario, app=built_in(), fedmed="1"))
    approval = draft(what, dataset, POLICY, built_in(), WHEELS, PLAIN, NOW)
    heard: list[str] = []
    refused: list[str] = []
    answer = Guarded.__call__

    def asked(self, message, context):
        kind = message.metadata.message_type
        heard.append(kind)
        try:
            judge(approval, kind, text_of(message.content), all_views(message.content))
        except NotApproved as error:
            refused.append(f"{kind}: {error}")
        return answer(self, message, context)

    monkeypatch.setattr(Guarded, "__call__", asked)
    simulate(Request(scenario, data, tmp_path / "out"))
    assert refused == []
    assert {"train", "query.describe", "query.member", "query.protocol"} <= set(heard)
    assert heard.count("train") == 9
    assert ("evaluate" in heard) == ("query.census" in heard) == (scenario.privacy.differential_privacy is None)
