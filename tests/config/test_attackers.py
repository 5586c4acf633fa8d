from __future__ import annotations

import pytest

from fedmed.config.loading import parse
from fedmed.errors import ConfigError

BASE = """\
name: few
title: Few
rounds: 3
data: {reader: phantom}
task: {name: scan}
training: {epochs: 1}
attackers:
"""


def attackers(text: str) -> str:
    return BASE + "".join(f"  {line}\n" for line in text.splitlines())


def test_a_scenario_may_have_attackers_and_says_nothing_of_them_where_it_has_none():
    found = parse(attackers('- {who: "site-0*", count: 1, kind: backdoor, target: ill, trigger: {size: 2}}'), "x").attackers
    assert [(each.who, each.count, each.kind, each.trigger.size) for each in found] == [("site-0*", 1, "backdoor", 2)]
    assert parse(BASE.replace("attackers:\n", ""), "x").attackers == ()


def test_a_scenario_that_was_written_out_whole_is_the_same_again():
    once = parse(attackers("- {who: a, kind: sign-flip}\n- {who: a, kind: label-flip}"), "x")
    assert type(once).model_validate_json(once.model_dump_json()) == once


def test_all_faults_come_at_once_each_at_its_line():
    with pytest.raises(ConfigError) as told:
        parse(
            attackers(
                "- {who: a, kind: scaled}\n"
                "- {who: b, kind: backdor}\n"
                "- {who: c, kind: backdoor, factor: 2}\n"
                "- {who: d, kind: label-flip, source: ill, target: ill, since: 4}\n"
                "- {who: e, kind: label-flip, source: ill}\n"
                "- {who: f, kind: sign-flip, count: 1, share: 0.5}"
            ),
            "x",
        )
    lines = str(told.value).splitlines()[1:]
    places = [int(line.split(": ")[0].rpartition(":")[2]) for line in lines]
    assert places == [8, 9, 10, 10, 11, 11, 12, 13]
    for said in ("lacks factor", "did you mean backdoor?", "lacks target", "of no effect on backdoor", "the same class as"):
        assert sum(said in line for line in lines) == 1
    assert "the run has 3 rounds" in str(told.value)
    assert "one of source and target" in str(told.value)
    assert "given beside count" in str(told.value)


def test_where_nobody_trains_nobody_attacks():
    topology = "topology: {learning: modelled, lines: {a: {up: 1 Mbit/s}}, clinics: [{name: c, count: 4, line: a}]}\n"
    text = attackers('- {who: "*", kind: sign-flip}') + topology
    with pytest.raises(ConfigError, match=r"attackers: nobody trains where topology\.learning is modelled"):
        parse(text.replace("reader: phantom", "reader: phantom, partition: {by: topology}"), "x")
