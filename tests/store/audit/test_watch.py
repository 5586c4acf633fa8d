from __future__ import annotations

import json

import pytest

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.identity.witness import Accuse, Answered, Countersign, Refuse
from fedmed.store.audit.watch import Watch
from tests.identity.logs import CENTER, CLINICS, MEMBERS, head_of, only_ask, signed, tree_of
from tests.identity.parties import Standing
from tests.store.audit.logs import happened, log_in
from tests.store.power import KEEPS, Crash, Power


def watch_in(folder, disk=None, log=CENTER.fingerprint):
    return Watch(folder / "watch.json", log, CLINICS[0], lambda: MEMBERS, Standing(), disk)


def test_a_clinic_countersigns_a_real_log_as_it_grows_and_keeps_the_newest(tmp_path):
    log, watch = log_in(tmp_path / "center", 3, most=2), watch_in(tmp_path)
    for _ in range(4):
        head = log.head()
        last = watch.state.newest
        assert watch.offered(head, log.consistency(last.size if last else 0)) == (Countersign(head),)
        assert watch.countersigned.head == head
        assert watch.countersigned.is_signed_by(CLINICS[0].signing_public)
        again = watch_in(tmp_path)
        assert (again.state, again.countersigned) == (watch.state, watch.countersigned)
        log.append(happened(log.size))


def test_a_center_restored_from_an_old_copy_is_found_out(tmp_path):
    log, watch = log_in(tmp_path / "center", 3), watch_in(tmp_path)
    watch.offered(log.head(), ())
    old = log_in(tmp_path / "copy", 2)
    assert isinstance(watch_in(tmp_path).offered(head_of(tree_of("x"), 1), ())[0], Accuse)
    assert isinstance(watch.offered(old.head(), ())[0], Refuse), "of the same second: an old head, no more"


def test_questions_and_accusations_outlive_a_restart(tmp_path):
    watch = watch_in(tmp_path)
    watch.offered(head_of(tree_of("a", "b")), ())
    ask = only_ask(watch.heard(signed(head_of(tree_of("a", "X", "c"), 1))))
    watch = watch_in(tmp_path)
    (found,) = watch.tell(Answered(ask, ()))
    assert isinstance(found, Accuse)
    again = watch_in(tmp_path)
    assert again.state.accusations == (found,)
    assert list(again.state.others) == [CLINICS[1].fingerprint]


def test_what_is_bound_changes_with_every_countersigned_head(tmp_path):
    watch, ledger = watch_in(tmp_path), b"l" * 32
    assert watch.bound(ledger) == ledger
    made = {watch.bound(ledger)}
    for seconds in (0, 1):
        watch.offered(head_of(tree_of("a"), seconds), ())
        made |= {watch.bound(ledger), watch.bound(b"m" * 32)}
    assert len(made) == 5
    assert {len(each) for each in made} == {32}


@pytest.mark.parametrize("keeps", KEEPS)
def test_no_crash_lets_a_countersignature_leave_that_is_not_kept(tmp_path, keeps):
    for fails_at in range(12):
        folder = tmp_path / str(fails_at)
        folder.mkdir()
        watch_in(folder).offered(head_of(tree_of("a")), ())
        power = Power(folder, fails_at=fails_at, torn=True)
        watch, tree = watch_in(folder, power), tree_of("a", "b")
        try:
            left = watch.offered(head_of(tree), tree.consistency(1))
        except Crash:
            left = None
        power.lose(keeps)
        sizes = {1, 2} if left is None else {2}
        assert watch_in(folder).state.newest.size in sizes
    assert left is not None


def test_a_disk_that_refuses_lets_nothing_be_signed(tmp_path):
    watch = watch_in(tmp_path, Power(tmp_path, fails_at=1, fault=OSError))
    with pytest.raises(StoreError, match="nothing is countersigned"):
        watch.offered(head_of(tree_of("a")), ())
    assert (watch.state.newest, watch.countersigned) == (None, None)
    assert watch.offered(head_of(tree_of("a")), ())


def test_an_altered_file_is_refused(tmp_path):
    watch = watch_in(tmp_path)
    watch.offered(head_of(tree_of("a")), ())
    path = tmp_path / "watch.json"
    whole = json.loads(path.read_bytes())
    for wrong in (b"", b"{}", b"[]", b"5", path.read_bytes().replace(b'"size":1', b'"size":2')):
        path.write_bytes(wrong)
        with pytest.raises(StoreError, match="put a copy of it back"):
            watch_in(tmp_path)
    path.write_text(json.dumps(whole))
    with pytest.raises(StoreError, match="watches the log"):
        watch_in(tmp_path, log=bytes(32))


def test_forged_heads_change_nothing(tmp_path):
    watch = watch_in(tmp_path)
    with pytest.raises(ProtocolRefused):
        watch.offered(head_of(tree_of("a"), owner=CLINICS[1]), ())
    assert not (tmp_path / "watch.json").exists()
