from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.identity import witness
from fedmed.identity.gathered import Gathered
from fedmed.identity.witness import Accuse, Answered, Countersign, Heard, Offered, Refuse, Silence
from fedmed.wire.merkle import EMPTY, Tree
from tests.identity.logs import CENTER, CLINICS, MEMBERS, MS, Clinic, head_of, is_countersigned, only_ask, signed, tree_of
from tests.identity.parties import keys


def accusation(said):
    [found] = [each for each in said if isinstance(each, Accuse)]
    return found


def refusal(said):
    [found] = [each for each in said if isinstance(each, Refuse)]
    return found.reason


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_a_log_that_only_grows_is_countersigned_at_every_size(steps):
    clinic, tree = Clinic(), Tree()
    for seconds, more in enumerate(steps):
        tree.extend(bytes([seconds, number]) for number in range(more))
        assert is_countersigned(clinic.offered(tree, seconds))
        assert clinic.state.newest == head_of(tree, seconds)
    assert clinic.state.accusations == ()


def test_a_changed_entry_is_never_countersigned_and_both_heads_are_named():
    clinic = Clinic()
    clinic.offered(tree_of("a", "b", "c"))
    forged = tree_of("a", "X", "c", "d")
    said = clinic.offered(forged, 1)
    found = accusation(said)
    assert (found.kind, found.is_proof) == ("not joined", False)
    assert (found.first, found.second) == (head_of(tree_of("a", "b", "c")), head_of(forged, 1))
    assert "does not join" in refusal(said)
    assert clinic.state.newest == found.first
    assert is_countersigned(clinic.offered(tree_of("a", "b", "c", "d"), 2)), "without proof of guilt it may mend its ways"


def test_two_roots_of_one_size_convict_the_center_for_good():
    clinic = Clinic()
    clinic.offered(tree_of("a", "b"))
    found = accusation(clinic.offered(tree_of("a", "X"), 1))
    assert (found.kind, found.is_proof) == ("split view", True)
    assert found.first.is_signed_by(CENTER.signing_public)
    assert found.second.is_signed_by(CENTER.signing_public)
    assert found.first.size == found.second.size
    honest = clinic.offered(tree_of("a", "b", "c"), 2)
    assert "until people have looked" in refusal(honest)
    assert clinic.state.accusations == (found,)


def test_a_log_that_became_shorter_is_rewritten():
    clinic = Clinic()
    clinic.offered(tree_of("a", "b", "c"))
    found = accusation(clinic.offered(tree_of("a", "b"), 1))
    assert (found.kind, found.is_proof) == ("rewritten", True)
    assert (found.first.size, found.second.size) == (3, 2)


def test_an_old_head_is_refused_and_nobody_is_accused():
    clinic, tree = Clinic(), tree_of("a", "b", "c")
    clinic.offered(tree, 5)
    said = clinic.tell(Offered(head_of(tree, 4, size=2), (), MS))
    assert "an old head" in refusal(said)
    said = clinic.tell(Offered(head_of(tree, 4), (), MS))
    assert "an old head" in refusal(said)
    assert clinic.state.accusations == ()


def test_the_same_size_later_is_countersigned_anew():
    clinic, tree = Clinic(), tree_of("a")
    assert is_countersigned(clinic.offered(tree, 0))
    assert is_countersigned(clinic.offered(tree, 60))


def test_a_split_view_of_one_size_is_seen_through_another_clinics_head():
    clinic = Clinic()
    clinic.offered(tree_of("a", "b"))
    assert clinic.heard(signed(head_of(tree_of("a", "b"), 1))) == ()
    found = accusation(clinic.heard(signed(head_of(tree_of("a", "X"), 2), 2)))
    assert (found.kind, found.is_proof) == ("split view", True)
    assert {found.first.root, found.second.root} == {tree_of("a", "b").root(), tree_of("a", "X").root()}


@pytest.mark.parametrize("others", [("a",), ("a", "b", "c", "d")])
def test_heads_of_other_sizes_are_asked_about_and_joined_by_a_proof(others):
    clinic, whole = Clinic(), tree_of("a", "b", "c", "d")
    clinic.offered(tree_of("a", "b"))
    seconds = -1 if len(others) == 1 else 1
    said = signed(head_of(tree_of(*others), seconds))
    ask = only_ask(clinic.heard(said))
    assert ask.old.size < ask.new.size
    assert clinic.heard(said) == (), "asked once"
    assert clinic.tell(Answered(ask, whole.consistency(ask.old.size, ask.new.size))) == ()
    assert (clinic.state.asked, clinic.state.accusations) == ((), ())
    with pytest.raises(ProtocolRefused, match="was not asked for"):
        clinic.tell(Answered(ask, ()))


@pytest.mark.parametrize("answers", [True, False])
def test_heads_that_no_proof_joins_are_evidence(answers):
    clinic, other = Clinic(), tree_of("a", "X", "c")
    clinic.offered(tree_of("a", "b"))
    ask = only_ask(clinic.heard(signed(head_of(other, 1))))
    found = accusation(clinic.tell(Answered(ask, other.consistency(2)) if answers else Silence(ask)))
    assert (found.kind, found.first, found.second) == ("not joined", ask.old, ask.new)
    assert ("no proof was given" in found.reason) is not answers
    assert clinic.state.accusations == (found,)


def test_a_head_with_the_right_root_and_another_size_is_asked_about():
    clinic, tree = Clinic(), tree_of("a", "b")
    clinic.offered(tree)
    lie = replace(head_of(tree, 1), size=3)
    lie = replace(lie, signature=CENTER.sign(lie.signed_part()))
    assert only_ask(clinic.heard(signed(lie))).new == lie


def test_before_anything_was_countersigned_there_is_nothing_to_compare():
    clinic = Clinic()
    assert clinic.heard(signed(head_of(tree_of("a")))) == ()
    assert clinic.state.others == {}


def test_nothing_that_was_not_signed_by_its_owner_is_heard():
    clinic, tree = Clinic(), tree_of("a")
    head = head_of(tree)
    for wrong, word in (
        (replace(head, size=2), "not signed by the log's owner"),
        (replace(head, root=bytes(32)), "not signed by the log's owner"),
        (replace(head, signature=bytes(64)), "not signed by the log's owner"),
        (head_of(tree, owner=CLINICS[0]), "a head of the log"),
        (replace(head_of(tree, owner=keys(99)), log=CENTER.fingerprint), "not signed by the log's owner"),
        (head_of(tree, 301), "from the future.*301 s ahead; allowed are 300 s"),
    ):
        with pytest.raises(ProtocolRefused, match=word):
            clinic.tell(Offered(wrong, (), MS))
        with pytest.raises(ProtocolRefused, match=word):
            clinic.heard(signed(wrong))
    empty = replace(head_of(Tree()), root=bytes(32))
    with pytest.raises(ProtocolRefused, match="an empty log has"):
        clinic.tell(Offered(replace(empty, signature=CENTER.sign(empty.signed_part())), (), MS))
    assert clinic.state == witness.State(CENTER.fingerprint)


def test_only_pinned_members_countersign_and_not_the_owner_itself():
    clinic, head = Clinic(), head_of(tree_of("a"))
    clinic.offered(tree_of("a"))
    for wrong, word in (
        (replace(signed(head), witness=CLINICS[2].fingerprint), "did not countersign"),
        (replace(signed(head), unix_ms=5), "did not countersign"),
        (replace(signed(head), witness=keys(99).fingerprint), "pinned"),
        (replace(signed(head), witness=CENTER.fingerprint), "pinned"),
        (signed(head, seconds=400), "from now"),
    ):
        with pytest.raises(ProtocolRefused, match=word):
            clinic.heard(wrong)


def test_accusations_and_questions_are_bounded():
    clinic, tree = Clinic(), tree_of("a", "b")
    clinic.offered(tree)
    for number in range(witness.MOST_ASKED + 5):
        clinic.heard(signed(head_of(tree_of("a", "b", *map(str, range(number + 1))), number + 1)), number + 1)
    assert len(clinic.state.asked) == witness.MOST_ASKED
    for ask in clinic.state.asked[:40]:
        clinic.tell(Silence(ask))
    assert len(clinic.state.accusations) == witness.MOST_KEPT
    assert clinic.state.accusations[-1].reason.startswith("no proof")


def test_who_was_not_heard_is_named():
    clinic, tree = Clinic(), tree_of("a")
    clinic.offered(tree)
    clinic.heard(signed(head_of(tree), 1, seconds=10), 10)
    me = CLINICS[0].fingerprint
    assert witness.silent(clinic.state, MEMBERS, me, MS) == [CLINICS[2].fingerprint]
    assert len(witness.silent(clinic.state, MEMBERS, me, MS + 20_000)) == 2


def test_the_center_gathers_and_gives_each_the_others():
    tree, log = tree_of("a"), CENTER.fingerprint
    gathered = Gathered()
    for clinic in range(3):
        gathered = gathered.taken(signed(head_of(tree), clinic), log, MEMBERS)
    assert {each.witness for each in gathered.for_member(CLINICS[0].fingerprint)} == {
        CLINICS[1].fingerprint,
        CLINICS[2].fingerprint,
    }
    newer = signed(head_of(tree_of("a", "b"), 1), 1, 1)
    assert gathered.taken(newer, log, MEMBERS).newest[CLINICS[1].fingerprint] == newer
    again = gathered.taken(newer, log, MEMBERS)
    assert again.taken(signed(head_of(tree), 1), log, MEMBERS) is again
    for wrong in (
        signed(head_of(tree, owner=CLINICS[0])),
        replace(signed(head_of(tree)), unix_ms=1),
        replace(signed(head_of(tree)), witness=CENTER.fingerprint),
        replace(signed(head_of(tree)), head=replace(head_of(tree), root=EMPTY)),
    ):
        with pytest.raises(ProtocolRefused):
            gathered.taken(wrong, log, MEMBERS)


@given(st.lists(st.sampled_from("ab"), max_size=7), st.lists(st.sampled_from("ab"), max_size=7), st.data())
def test_two_histories_of_a_forking_center_never_pass_unseen(shared, tail, data):
    """One clinic sees the shared part and one entry; another the shared part and other entries; they exchange heads."""
    mine, theirs = tree_of(*shared, "mine"), tree_of(*shared, "theirs", *tail)
    clinic = Clinic()
    clinic.offered(mine)
    said = clinic.heard(signed(head_of(theirs, 1)))
    if isinstance(said[0], Accuse):
        return
    ask = only_ask(said)
    source = data.draw(st.sampled_from((mine, theirs)))
    proof = source.consistency(ask.old.size) if ask.old.size <= source.size else ()
    assert accusation(clinic.tell(Answered(ask, proof)))
    assert not any(isinstance(each, Countersign) for each in clinic.tell(Heard(signed(head_of(theirs, 2)), MS)))
