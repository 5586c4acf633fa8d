from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from fedmed.errors import ConfigError, DataError, QuorumError, Unreachable
from fedmed.identity.member import NAME
from fedmed.operation.metrics import CENTER, CLINIC, MOST_SITES, VERDICTS, Metrics, Reading, kind_of

RULES = Path(__file__).resolve().parents[2] / "packaging" / "prometheus" / "fedmed.rules.yml"
FULL = Reading(
    ready=True,
    seen_ago_s={"east": 1.5, "north": 4000.0},
    sites_online=1,
    members=3,
    spooled=1,
    spooled_bytes=10**9,
    disk_free_bytes=10**12,
    certificate_left_s=86400.0,
    audit_entries=12,
    audit_head_age_s=3.0,
    models_waiting=3,
    models_waiting_bytes=10**8,
    paused=False,
)
COUNTS = {
    *("rounds", "errors", "failed_handshakes", "sites_online", "epoch_members"),
    *("spooled_uploads", "audit_entries", "models_waiting_files"),
}
STATES = {"ready", "paused", "service_info"}


def families(metrics: Metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}


def test_every_metric_has_help_and_a_unit_or_counts_things():
    found = families(Metrics(CENTER, lambda: FULL))
    assert len(found) == 20
    for name, family in found.items():
        assert re.fullmatch("fedmed_[a-z_]+", name)
        assert family.documentation.endswith(".")
        assert family.type != "unknown"
        short = name.removeprefix("fedmed_")
        assert short in COUNTS | STATES or short.endswith(("_seconds", "_bytes"))


def test_what_happened_is_counted():
    metrics = Metrics(CENTER, lambda: Reading())
    metrics.round_ended("committed", 4.0)
    metrics.round_ended("failed", 700.0)
    metrics.moved(up=5, down=7)
    metrics.handshake_failed("expired")
    metrics.handshake_failed("patient 4711")
    metrics.failed(QuorumError("patient 4711"), 1_800_000_000.0)
    exposed = metrics.exposition().decode()
    lines = exposed.splitlines()
    for line in (
        'fedmed_rounds_total{verdict="committed"} 1.0',
        'fedmed_rounds_total{verdict="incomplete"} 0.0',
        'fedmed_round_seconds_bucket{le="5.0"} 1.0',
        "fedmed_round_seconds_sum 704.0",
        'fedmed_transferred_bytes_total{direction="up"} 5.0',
        'fedmed_errors_total{kind="quorum"} 1.0',
        'fedmed_errors_total{kind="store"} 0.0',
        "fedmed_last_error_timestamp_seconds 1.8e+09",
        'fedmed_failed_handshakes_total{reason="expired"} 1.0',
        'fedmed_failed_handshakes_total{reason="other"} 1.0',
        'fedmed_failed_handshakes_total{reason="not-tls"} 0.0',
        "fedmed_ready 0.0",
    ):
        assert line in lines
    assert "4711" not in exposed
    assert "fedmed_disk_free_bytes" not in exposed  # what is not known is not shown as 0
    with pytest.raises(ConfigError, match="verdict"):
        metrics.round_ended("odd", 1)


def test_registries_are_each_services_own():
    one, other = Metrics(CENTER, lambda: FULL), Metrics(CLINIC, lambda: FULL)
    one.moved(1, 1)
    assert 'fedmed_transferred_bytes_total{direction="up"} 0.0' in other.exposition().decode()
    assert not [metric for metric in REGISTRY.collect() if metric.name.startswith("fedmed")]


@given(st.dictionaries(st.text(max_size=70) | st.from_regex(NAME, fullmatch=True), st.floats(0, 1e6), max_size=20))
def test_no_label_is_anything_but_a_members_name_or_a_word_of_ours(seen):
    metrics = Metrics(CENTER, lambda: Reading(seen_ago_s=seen))
    for family in families(metrics).values():
        for sample in family.samples:
            told = dict(sample.labels)
            peer = told.pop("peer", "a")
            assert NAME.fullmatch(peer)
            assert peer in {*seen, "a"}
            assert told.keys() <= {"verdict", "direction", "kind", "role", "version", "le", "reason"}


def test_labels_are_bounded():
    metrics = Metrics(CENTER, lambda: Reading(seen_ago_s={f"site-{n}": 1.0 for n in range(2 * MOST_SITES)}))
    assert len(families(metrics)["fedmed_seen_ago_seconds"].samples) == MOST_SITES


def test_kinds():
    assert [kind_of(error) for error in (DataError(), Unreachable(), QuorumError(), ValueError())] == [
        "data",
        "unreachable",
        "quorum",
        "other",
    ]


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bfedmed_[a-z_]+", expression))


def test_alerts_ask_for_metrics_that_are_there():
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    exposed = {sample.name for family in families(Metrics(CENTER, lambda: FULL)).values() for sample in family.samples}
    assert len(rules) > 10
    for rule in rules:
        assert names_in(rule["expr"]) or rule["expr"].startswith("up{")
        assert names_in(rule["expr"]) <= exposed, rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert set(re.findall(r'verdict="(\w+)"', rule["expr"])) <= set(VERDICTS)
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"].keys() == {"summary", "do"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH: Debian's package prometheus has it")
def test_promtool_takes_rules_and_metrics():
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    exposed = Metrics(CENTER, lambda: FULL).exposition()
    done = subprocess.run(["promtool", "check", "metrics"], input=exposed, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
