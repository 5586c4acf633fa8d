from __future__ import annotations

import re

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from fedmed.flower import arrays
from fedmed.flower.keys import ENVELOPE, SEALED, VECTOR
from tests.federation.conftest import MODEL
from tests.federation.peers import Peer
from tests.federation.test_epochs import FOUR, events
from tests.federation.test_masked import bound_of, loop_of, plain_mean


def changed(found, change):
    """What peer `d` honestly sends, changed on its way."""

    def act(peer, message):
        content = found.parties["d"].act(peer, message)[0][1].content
        records = {SEALED: dict(content[SEALED]), "arrays": arrays.views(content["arrays"])}
        change(records)
        made = RecordDict({SEALED: ConfigRecord(records.pop(SEALED)), "arrays": arrays.own(records.pop("arrays"))})
        for name, record in records.items():
            made[name] = record
        return [(0.0, Message(made, reply_to=message))]

    return act


def other_vector(records):
    records["arrays"] = {VECTOR: records["arrays"][VECTOR] + np.uint32(1)}


def float_vector(records):
    records["arrays"] = {VECTOR: records["arrays"][VECTOR].astype(np.float32)}


def narrow_vector(records):
    records["arrays"] = {VECTOR: records["arrays"][VECTOR].astype(np.uint16)}


def shorter(records):
    records["arrays"] = {VECTOR: records["arrays"][VECTOR][:-1]}


def another_name(records):
    records["arrays"] = {"w": records["arrays"][VECTOR]}


def two_vectors(records):
    records["arrays"] = {**records["arrays"], "w": np.zeros(3, np.float32)}


def no_envelope(records):
    records[SEALED] = {"mine": b""}


def text_for_envelope(records):
    records[SEALED] = {ENVELOPE: "signed"}


def spoilt_envelope(records):
    records[SEALED] = {ENVELOPE: records[SEALED][ENVELOPE][:-1] + b"\0"}


def cut_envelope(records):
    records[SEALED] = {ENVELOPE: records[SEALED][ENVELOPE][:-1]}


def metrics(records):
    records["metrics"] = MetricRecord({"loss": 0.5})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_vector, "the vector of member .* is not the one it signed"),
        (float_vector, r"a vector of float32 .*; allowed: uint32"),
        (narrow_vector, r"a vector of uint16 .*; allowed: uint32"),
        (shorter, r"a vector of uint32 \[\d+\]; allowed"),
        (another_name, "no masked vector with its envelope"),
        (two_vectors, "no masked vector with its envelope"),
        (no_envelope, "no masked vector with its envelope"),
        (text_for_envelope, "no masked vector with its envelope"),
        (spoilt_envelope, "is not signed by it"),
        (cut_envelope, "malformed"),
        (metrics, "no masked vector with its envelope"),
    ],
)
def test_an_upload_that_is_none_is_refused_and_the_round_goes_on(masked, change, why):
    found = masked("a", "b", "c", Peer("d"))
    found.peers[3].acts["train"] = changed(found, change)
    model, record = loop_of(found).train(1, MODEL, "order")
    assert list(record["refused"]) == ["d"]
    assert re.search(why, record["refused"]["d"]), record["refused"]
    assert record["joined"] == ["a", "b", "c"]
    assert np.abs(model["w"] - plain_mean(found, "a", "b", "c")).max() <= bound_of(found, "a", "b", "c")
    (refused,) = events(found, "refused")
    assert refused["reason"] == record["refused"]["d"]


def test_an_upload_in_anothers_name_is_refused(masked):
    found = masked(*FOUR)
    heard = []

    def listening(peer, message):
        made = found.parties["a"].act(peer, message)
        heard.append(made[0][1].content)
        return made

    def repeating(peer, message):
        return [(0.0, Message(heard[-1], reply_to=message))]

    found.peers[0].acts["train"], found.peers[3].acts["train"] = listening, repeating
    _, record = loop_of(found).train(1, MODEL, "order")
    assert "is not signed by it" in record["refused"]["d"]
    assert record["joined"] == ["a", "b", "c"]


def test_an_upload_of_an_earlier_round_is_refused(masked):
    found = masked(*FOUR)
    kept = []

    def old(peer, message):
        made = found.parties["d"].act(peer, message)[0][1].content
        kept.append(made)
        return [(0.0, Message(kept[0], reply_to=message))]

    found.peers[3].acts["train"] = old
    loop = loop_of(found)
    model, first = loop.train(1, MODEL, "order")
    _, second = loop.train(2, model, "order")
    assert first["joined"] == list(FOUR)
    assert "is for another round" in second["refused"]["d"]


def test_false_answers_to_the_opening_are_left_out(masked):
    found = masked(*FOUR)

    def swapped(peer, message):
        answer = found.parties["d"].act(peer, message)
        if not events(found, "survivors"):
            return answer
        content = RecordDict({"said": ConfigRecord({"bytes": bytes(64)})})
        return [(0.0, Message(content, reply_to=message))]

    found.peers[3].acts["query.protocol"] = swapped
    model, record = loop_of(found).train(1, MODEL, "order")
    assert record["joined"] == list(FOUR)
    assert np.abs(model["w"] - plain_mean(found, *FOUR)).max() <= bound_of(found, *FOUR)
    (unheard,) = {event["member"] for event in events(found, "unheard")}
    fingerprints = sorted(found.pins)
    assert fingerprints[unheard - 1] == found.fingerprints["d"]


def test_survivors_are_written_down_before_anybody_is_asked(masked):
    found = masked(*FOUR)
    seen = []

    def asked(peer, message):
        if any(message.metadata.message_type == "train" for message in found.grid.sent):
            seen.append([event["survivors"] for event in events(found, "survivors")])
        return found.parties["a"].act(peer, message)

    found.peers[0].acts["query.protocol"] = asked
    loop_of(found).train(1, MODEL, "order")
    assert seen == [[[1, 2, 3, 4]]] * 2, "to confirm, and to reveal"
