from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.outbound.gate import Rules
from fedmed.outbound.private import Private
from fedmed.privacy.dp.history import Limit
from fedmed.privacy.secagg import opening
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.questions import loss_fields, mask_fields
from fedmed.store.budgets import Budget
from fedmed.store.departures import verify
from fedmed.store.keystore import MemoryKeystore
from fedmed.store.unsealed import UnsealedKeystore
from tests.outbound import test_private_orders
from tests.outbound.gates import SHAPE, Gates, layout_for, opened, text_for
from tests.store.test_ledger import Fixed

GONE = "an update that came too late for its sum goes into none: "


@pytest.fixture
def there(tmp_path) -> Gates:
    return Gates(tmp_path)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 7), st.sampled_from([16, 32]), st.sampled_from(["malicious", "hbc"]), st.data())
def test_the_next_sum_is_exactly_that_of_all_updates_and_the_late_one(count, bits, mode, data):
    late = data.draw(st.integers(1, count))
    with tempfile.TemporaryDirectory() as folder:
        there = Gates(Path(folder), count, bits, mode, weights={(1, late): 7, (2, late): 3})
        first, second, third = there.round(1, late=[late]), there.round(2), there.round(3)
        assert opened(first) == there.tensors(*there.everybody(1, without=[late]))
        assert opened(second) == there.tensors(*there.everybody(2), (1, late))
        assert opened(third) == there.tensors(*there.everybody(3))
        assert second.count("weight") == 10 * (count - 1) + 3, "weights and metrics are those of the new updates alone"
        assert second.number("loss.weight") == second.count("weight")
        carried = [each.carried for each in verify(there.ledger(late))]
        assert carried == [None, (1, 1), None]
        assert not any(there.told.values())


def test_a_round_that_was_lost_for_everybody_is_not_carried(there):
    state, _, _ = there.uploads(1, late=[4])
    there.confirmed(state)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))


def test_a_round_whose_end_was_not_heard_of_is_not_carried(there):
    there.round(1, late=[4], deaf=[4])
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))


def test_who_is_in_the_sum_carries_nothing(there):
    there.round(1)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))


def test_a_round_that_is_repeated_after_some_have_revealed_does_not_count_twice(there):
    """The late clinic did hear that it was left out; then too few others answered, and the same work is asked for again."""
    state, _, _ = there.uploads(1, late=[4])
    there.revealed(there.confirmed(state), [4])
    assert opened(there.round(2, text=text_for(1))) == there.tensors(*there.everybody(2))
    assert there.told[4] == [GONE + "its round is repeated, and both would be the same work"]


def test_an_evaluation_is_not_carried(there):
    whole, there.layout = there.layout, Layout((), (*loss_fields(20), *mask_fields(20)), 32, 4, 1.0, 20)
    assert there.round(1, late=[4], kind="evaluate").count("cases") == 30
    there.layout = whole
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))
    assert there.told[4] == []


@pytest.mark.parametrize("bits", [16, 32])
def test_lanes_beyond_what_one_clinic_may_say_are_not_carried(tmp_path, bits):
    def extreme(number, index):
        change = np.full(SHAPE, 0.1 * number, np.float32)
        change[-1, -1] = (-1) ** (index == 4)  # the bound
        return {"w": change}

    there = Gates(tmp_path, bits=bits, step=extreme, weights={(number, 4): 20 for number in (1, 2)})
    there.round(1, late=[4])
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))
    (told,) = there.told[4]
    largest, most = 2 * int(there.layout.scale.factor), there.layout.scale.most_lane
    assert told.startswith(f"{GONE}with the next one a lane of tensor 'w' is {largest}; allowed: at most {most}, ")


def test_the_clinics_own_limit_of_the_norm_holds_for_both_together(tmp_path):
    def alike(number, index):
        return {"w": np.full(SHAPE, 0.2, np.float32)}

    norm = 0.2 * math.sqrt(15)
    within = Gates(tmp_path / "within", rules=lambda index: Rules(most_norm=2.001 * norm), step=alike)
    beyond = Gates(tmp_path / "beyond", rules=lambda index: Rules(most_norm=1.999 * norm), step=alike)
    for there in (within, beyond):
        there.round(1, late=[4])
    assert opened(within.round(2)) == within.tensors(*within.everybody(2), (1, 4))
    assert opened(beyond.round(2)) == beyond.tensors(*beyond.everybody(2))
    assert [each.norm for each in verify(within.ledger(4))] == pytest.approx([norm, 2 * norm], rel=1e-6)
    assert [each.norm for each in verify(beyond.ledger(4))] == pytest.approx([norm, norm], rel=1e-6)
    assert beyond.told[4] == [f"{GONE}with the next one its L2 norm is 1.549; allowed: at most {1.999 * norm:g}"]


def test_the_norm_is_of_what_is_said_at_the_new_ones_weight(tmp_path):
    there = Gates(tmp_path, weights={(1, 4): 20, (2, 4): 2})
    there.round(1, late=[4])
    there.round(2)
    both = there.step(2, 4)["w"] + 10 * there.step(1, 4)["w"]
    assert verify(there.ledger(4))[1].norm == pytest.approx(float(np.linalg.norm(both)), rel=1e-5)


def test_another_layout_is_another_scale(there):
    there.round(1, late=[4])
    there.layout = layout_for(4, bound=2.0)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))
    assert there.told[4] == [GONE + "the next one has another layout, in whose lanes it would be other numbers"]


def test_the_next_epoch_carries_it_and_another_run_does_not(tmp_path):
    for run in ("run", "another run"):
        there = Gates(tmp_path / run)
        there.round(1, late=[4])
        there.renew(run=run)
        late = [(1, 4)] if run == "run" else []
        assert opened(there.round(2)) == there.tensors(*there.everybody(2), *late)
        assert there.told[4] == ([] if late else [GONE + "the next one is of another run"])


def test_a_process_that_starts_anew_has_forgotten_it(there):
    there.round(1, late=[4])
    there.start(4)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))
    state, _, _ = there.uploads(3, late=[4])
    there.start(4)
    there.revealed(there.confirmed(state), there.members)
    assert there.told[4] == [GONE + "another process of this clinic sent it, and nothing of it is written down"]
    assert opened(there.round(4)) == there.tensors(*there.everybody(4))


def test_what_another_process_sent_is_not_carried(there):
    first = there.gates[4]
    there.round(1)
    there.start(4)
    state, _, _ = there.uploads(2, late=[4])
    there.gates[4] = first
    there.revealed(there.confirmed(state), there.members)
    assert opened(there.round(3)) == there.tensors(*there.everybody(3))
    assert there.told[4] == [GONE + "another process of this clinic sent it, and nothing of it is written down"]


def test_nothing_of_it_is_on_the_disk(tmp_path):
    there = Gates(tmp_path, keystore=lambda index: UnsealedKeystore(tmp_path / f"{index}.state"))
    own = there.plain(1, 4)[:8].tobytes()
    there.round(1, late=[4])
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not any(own in each for each in files)
    epoch = there.boxes[4]._state.epoch
    assert epoch is not None
    assert 1 not in epoch.secrets
    assert opened(there.round(2)) == there.tensors(*there.everybody(2), (1, 4))


def test_where_the_staff_drops_late_updates_nothing_is_carried_or_said(tmp_path):
    there = Gates(tmp_path, rules=lambda index: Rules(carries_late=False))
    there.round(1, late=[4])
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))
    assert there.told[4] == []


def test_under_differential_privacy_nothing_is_carried_and_the_staff_is_told_once(tmp_path):
    def rules(index: int) -> Rules:
        budget = Budget(tmp_path / f"{index}.budget.jsonl", Fixed(), Limit(50.0, 1e-5, "patient"))
        orders = test_private_orders
        return Rules(None, Private(orders.RULES, orders.TRAINING, 10, "patient", "chest", budget, lambda what: what[:24]))

    there = Gates(tmp_path, rules=rules)
    there.layout = Layout((Tensor("w", SHAPE),), (), 32, 4, 1.0, 1)
    for number in (1, 2):
        there.round(number, late=[4], text=test_private_orders.asked())
    assert there.told[4] == [GONE + "under differential privacy it would move the next sum by twice the clip"]
    assert [each.carried for each in verify(there.ledger(4))] == [None, None]
    assert there.gates[4]._late._kept is None


class Faulty(MemoryKeystore):
    fails = ""

    def sent(self, number):
        if self.fails == "sent":
            raise StoreError("a byte of it is not what was written")
        return super().sent(number)

    def erase(self, state, number):
        if self.fails == "erase":
            raise StoreError("the disk is full")
        super().erase(state, number)


def test_the_others_sum_does_not_wait_for_a_damaged_vector(tmp_path):
    there = Gates(tmp_path, keystore=lambda index: Faulty())
    there.keystores[4].fails = "sent"
    assert opened(there.round(1, late=[4])) == there.tensors(*there.everybody(1, without=[4]))
    assert there.told[4] == [GONE + "a byte of it is not what was written"]


def test_while_the_round_s_secrets_are_on_the_disk_nothing_is_kept(tmp_path):
    there = Gates(tmp_path, keystore=lambda index: Faulty())
    state, _, _ = there.uploads(1, late=[4])
    state = there.confirmed(state)
    there.keystores[4].fails = "erase"
    with pytest.raises(StoreError, match="the disk is full"):
        there.gates[4].answer(opening.reveal_request(state))
    assert there.gates[4]._late._kept is None
    there.keystores[4].fails = ""
    there.revealed(state, there.members)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2), (1, 4))


def test_a_vector_that_is_asked_for_again_is_in_the_ledger_with_what_it_carries(there, monkeypatch):
    there.round(1, late=[4])
    job, departures = there.job(2), there.gates[4]._books.departures
    with monkeypatch.context() as disk:
        disk.setattr(departures, "record", lambda line: (_ for _ in ()).throw(StoreError("the disk is full")))
        with pytest.raises(Exception, match="sends nothing"):
            there.work(job, 4)
    again = there.work(job, 4)
    assert again.vector.size == there.layout.size
    assert verify(there.ledger(4))[-1].carried == (1, 1)


def test_a_vector_from_which_its_masks_do_not_come_off_is_not_carried(tmp_path):
    there = Gates(tmp_path, keystore=lambda index: UnsealedKeystore(tmp_path / f"{index}.state"))
    state, _, sent = there.uploads(1, late=[4])
    kept, masked = tmp_path / "4.state.message", sent[4].vector.tobytes()
    assert masked in kept.read_bytes()
    kept.write_bytes(kept.read_bytes().replace(masked, bytes(len(masked))))
    there.revealed(there.confirmed(state), there.members)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))
    (told,) = there.told[4]
    assert "a mask was left in it" in told
