from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import BudgetRefused, ConfigError, StoreError
from fedmed.privacy.dp.accountant import Release, epsilon
from fedmed.privacy.dp.history import Charge, Limit
from fedmed.store import chain
from fedmed.store.budgets import Budget, read
from tests.store.test_ledger import Fixed

EVENT = Release("update", "discrete gaussian", 10.0)
LIMIT = Limit(2.0, 1e-5, "patient")
FIELDS = ["dataset", "run", "round", "unit", "events", "sent", "unix", "what", "mechanism", "noise_multiplier", "count"]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "privacy" / "budget.jsonl"


def budget(path: Path, limit: Limit = LIMIT) -> Budget:
    return Budget(path, Fixed(), limit)


def charged_until_refused(ours: Budget) -> int:
    """Rounds that were charged before one was refused."""
    for number in range(100):
        try:
            ours.charge("chest", "run", number, [EVENT])
        except BudgetRefused as error:
            told = str(error)
            break
    else:
        raise AssertionError("nothing was refused")
    assert "the limit is 2" in told
    return number


def test_a_charge_is_on_the_disk_with_all_it_was_for(path):
    found = budget(path).charge("chest", "run-7", 3, [EVENT, Release("histogram", "discrete gaussian", 30.0)], "ab" * 32)
    [charge] = read(path)
    assert (charge.dataset, charge.run, charge.round, charge.unit, charge.sent) == (
        "chest",
        "run-7",
        3,
        "patient",
        "ab" * 32,
    )
    assert charge.events == (EVENT, Release("histogram", "discrete gaussian", 30.0))
    assert charge.unix == 1.7e9
    assert found == budget(path).spent("chest")
    assert found.epsilon == epsilon(charge.events, 1e-5)
    assert found.events == 2


def test_charges_of_all_runs_add_up_for_one_data_set_and_not_for_others(path):
    ours = budget(path)
    for run in ("first", "second"):
        for number in range(3):
            ours.charge("chest", run, number, [EVENT])
    ours.charge("skin", "first", 0, [EVENT])
    assert ours.spent("chest").epsilon == epsilon([EVENT] * 6, 1e-5)
    assert ours.spent("skin").epsilon == epsilon([EVENT], 1e-5)
    assert ours.spent("heart") == (0.0, 1e-5, 0, "patient")


def test_a_round_beyond_the_limit_is_refused_and_leaves_no_line(path):
    ours = budget(path)
    rounds = charged_until_refused(ours)
    assert len(read(path)) == rounds > 3
    assert ours.spent("chest").epsilon <= 2.0 < epsilon([EVENT] * (rounds + 1), 1e-5)
    kept = path.read_bytes()
    with pytest.raises(BudgetRefused):
        ours.charge("chest", "another run", 0, [EVENT])
    assert path.read_bytes() == kept
    ours.charge("skin", "run", 0, [EVENT])
    budget(path, Limit(4.0, 1e-5, "patient")).charge("chest", "run", rounds, [EVENT])


def test_a_resend_of_the_same_bytes_is_paid_for_and_anything_else_is_charged_again(path):
    ours = budget(path)
    first = ours.charge("chest", "run", 1, [EVENT], "aa" * 32)
    assert ours.charge("chest", "run", 1, [EVENT], "aa" * 32) == first
    assert len(read(path)) == 1
    ours.charge("chest", "run", 1, [EVENT], "bb" * 32)
    ours.charge("chest", "run", 1, [EVENT])
    ours.charge("chest", "run", 1, [EVENT])
    assert len(read(path)) == 4


def test_a_resend_is_allowed_when_nothing_is_left(path):
    ours = budget(path)
    paid = Release("update", "discrete gaussian", 2.2)
    ours.charge("chest", "run", 1, [paid], "aa" * 32)
    with pytest.raises(BudgetRefused):
        ours.charge("chest", "run", 2, [paid], "bb" * 32)
    assert ours.charge("chest", "run", 1, [paid], "aa" * 32).events == 1


def test_the_unit_goes_with_every_epsilon(path):
    ours = budget(path, Limit(2.0, 1e-5, "record"))
    assert str(ours.charge("chest", "run", 1, [EVENT])).endswith("per record: patient ids are missing")
    assert budget(path).spent("chest").unit == "record"
    with pytest.raises(BudgetRefused, match="do not add up"):
        budget(path).charge("chest", "run", 2, [EVENT])


def test_what_names_nothing_is_refused_before_a_file_is_made(path):
    for dataset, run, events in (("", "run", [EVENT]), ("chest", "", [EVENT]), ("chest", "run", [])):
        with pytest.raises(ConfigError, match="cannot be charged"):
            budget(path).charge(dataset, run, 1, events)
    assert not path.exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_byte_passes_and_nothing_is_charged_then(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("budget") / "budget.jsonl"
    for number in range(2):
        budget(path).charge("chest", "run", number, [EVENT])
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"budget\.jsonl"):
        budget(path).charge("chest", "run", 2, [EVENT])
    with pytest.raises(StoreError, match=r"budget\.jsonl"):
        budget(path).spent("chest")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'"noise_multiplier":10.0', b'"noise_multiplier":-1.0'),
        (b'"unit":"patient"', b'"unit":"family"'),
        (b'"round":0', b'"turn":0'),
    ],
)
def test_what_could_never_have_been_charged_is_named_as_damage(path, was, now):
    budget(path).charge("chest", "run", 0, [EVENT])
    path.write_bytes(path.read_bytes().replace(was, now))
    with pytest.raises(StoreError, match="line 1: it cannot be read"):
        budget(path).spent("chest")


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=9),
            max_leaves=20,
        ).map(lambda body: json.dumps({"before": chain.FIRST, "body": body}).encode()),
    )
)
def test_any_bytes_end_in_a_store_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("budget") / "budget.jsonl"
    path.write_bytes(content + b"\n")
    with pytest.raises(StoreError, match=r"budget\.jsonl, line 1"):
        read(path)


def test_a_file_cut_short_gives_nothing_back(path):
    for number in range(2):
        budget(path).charge("chest", "run", number, [EVENT])
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(StoreError, match="cut short"):
        budget(path).charge("chest", "run", 2, [EVENT])


def test_a_full_disk_lets_nothing_leave(small_disk):
    path = small_disk / "budget.jsonl"
    many = tuple(Release("x" * 256, "discrete gaussian", 50.0) for _ in range(64))
    with suppress(OSError):
        for number in range(200):
            chain.append(path, asdict(Charge("skin", "run", number, "patient", many, "", 0.0)))
    whole = len(read(path))
    with pytest.raises(StoreError, match="nothing leaves without it"):
        budget(path, Limit(1e6, 1e-5, "patient")).charge("chest", "run", 0, many)
    assert 10 < len(read(path)) == whole < 200
    assert budget(path).spent("chest").events == 0


SCRIPT = """
import os, sys
from pathlib import Path
from fedmed.clock import SystemClock
from fedmed.privacy.dp.accountant import Release
from fedmed.privacy.dp.history import Limit
from fedmed.store.budgets import Budget
path, name, rounds, crash = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
synced, fsync = 0, os.fsync
def crashing(handle):
    global synced
    synced += 1
    if synced == crash:
        os._exit(9)
    fsync(handle)
os.fsync = crashing
for number in range(rounds):
    Budget(path, SystemClock(), Limit(2.0, 1e-5, "patient")).charge(
        "chest", name, number, [Release("update", "discrete gaussian", 6.0)])
    print("sent", flush=True)
"""


def started(path: Path, name: str, rounds: int, crash: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(path), name, str(rounds), str(crash)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def test_two_processes_at_once_lose_no_charge_and_share_one_limit(path):
    both = [started(path, name, 6) for name in ("north", "south")]
    told = [process.communicate(timeout=100) for process in both]
    sent = sum(out.count("sent") for out, _ in told)
    assert len(read(path)) == sent
    assert budget(path).spent("chest").epsilon <= 2.0 < epsilon([Release("update", "gaussian", 6.0)] * (sent + 1), 1e-5)
    assert any("BudgetRefused" in error for _, error in told)


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_crash_at_any_sync_keeps_the_charge_and_had_sent_nothing(path, crash):
    process = started(path, "north", 1, crash)
    assert process.communicate(timeout=100) == ("", "")
    assert process.returncode == 9
    assert len(read(path)) == 1
    budget(path).charge("chest", "north", 0, [EVENT])
    assert [charge.run for charge in read(path)] == ["north", "north"]
