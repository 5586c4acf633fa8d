"""What one crafted request gets out of Flower 1.41's SecAgg+ clients, shown with Flower's own functions, and out of ours.

Each class shows the attack on Flower first, so that the refusal is of something that works.
"""

from __future__ import annotations

import importlib
from dataclasses import fields

import numpy as np
import pytest

from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Confirmed, ConfirmRequest, Revealed, RevealRequest
from tests.privacy.secagg.federation import federation, random_lanes, terms_for

pytest.importorskip("flwr", reason="the attacked peer: pip install fedmed[fl]")

MOD = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
KEY = importlib.import_module("flwr.common.secure_aggregation.secaggplus_constants").Key
TOOLS = importlib.import_module("flwr.common.secure_aggregation.secaggplus_utils")
SHAMIR = importlib.import_module("flwr.common.secure_aggregation.crypto.shamir")
AGREEMENT = importlib.import_module("flwr.common.secure_aggregation.crypto.symmetric_encryption")
KEYS = importlib.import_module("flwr.supercore.primitives.asymmetric")
RECORDS = importlib.import_module("flwr.common")
MEMBERS, SIZE = (1, 2, 3, 4, 5), 200


def flower(modulus: int = 1 << 32, target: int = 1 << 22, threshold: int = 4):
    """Five of Flower's clients after their uploads: states, public keys, masked vectors, true updates."""
    true = {i: np.random.default_rng(i).standard_normal(SIZE).astype(np.float32) * np.float32(0.1) for i in MEMBERS}
    states = {i: MOD.SecAggPlusState(nid=i) for i in MEMBERS}
    names = (
        KEY.SAMPLE_NUMBER,
        KEY.SHARE_NUMBER,
        KEY.THRESHOLD,
        KEY.CLIPPING_RANGE,
        KEY.TARGET_RANGE,
        KEY.MOD_RANGE,
        KEY.MAX_WEIGHT,
    )
    settings = dict(zip(names, (5, 5, threshold, 8.0, target, modulus, 100.0), strict=True))
    for i in MEMBERS:
        states[i].nid = i
    public = {i: MOD._setup(states[i], settings) for i in MEMBERS}
    told = {str(i): (public[i][KEY.PUBLIC_KEY_1], public[i][KEY.PUBLIC_KEY_2]) for i in MEMBERS}
    inbox: dict[int, tuple[list[int], list[bytes]]] = {i: ([], []) for i in MEMBERS}
    for i in MEMBERS:
        shared = MOD._share_keys(states[i], told)
        for receiver, sealed in zip(shared[KEY.DESTINATION_LIST], shared[KEY.CIPHERTEXT_LIST], strict=True):
            inbox[receiver][0].append(i)
            inbox[receiver][1].append(sealed)
    masked = {}
    for i in MEMBERS:
        request = {KEY.SOURCE_LIST: inbox[i][0], KEY.CIPHERTEXT_LIST: inbox[i][1]}
        sent = MOD._collect_masked_vectors(states[i], request, 100, RECORDS.ndarrays_to_parameters([true[i]]))
        masked[i] = RECORDS.bytes_to_ndarray(sent[KEY.MASKED_PARAMETERS][1])
    return states, public, masked, true


class TestBothShares:
    def test_flower_gives_the_victims_update_away(self):
        states, public, masked, true = flower()
        victim, own, keys = 1, [], []
        for i in MEMBERS[1:]:
            request = {KEY.ACTIVE_NODE_ID_LIST: list(MEMBERS), KEY.DEAD_NODE_ID_LIST: [victim]}
            shares = MOD._unmask(states[i], request)[KEY.SHARE_LIST]
            own.append(shares[0])
            keys.append(shares[-1])
        seed = SHAMIR.combine_shares(own[:4])
        secret = KEYS.bytes_to_private_key(SHAMIR.combine_shares(keys[:4]))
        found = masked[victim] - TOOLS.pseudo_rand_gen(seed, 1 << 32, [(1,), (SIZE,)])[1]
        for i in MEMBERS[1:]:
            pair = AGREEMENT.generate_shared_key(secret, KEYS.bytes_to_public_key(public[i][KEY.PUBLIC_KEY_1]))
            mask = TOOLS.pseudo_rand_gen(pair, 1 << 32, [(1,), (SIZE,)])[1]
            found = found - mask if victim > i else found + mask
        assert np.abs((found & 0xFFFFFFFF) * 16 / (1 << 22) - 8 - true[victim]).max() < 1e-5

    def test_ours_has_one_list_and_one_share_a_member(self):
        there = federation(5)
        header = there.header()
        for index, clinic in there.clinics.items():
            clinic.upload(header.encode(), random_lanes(index))
        everybody = tuple(there.clinics)
        signed = ConfirmRequest(header.encode(), everybody).encode()
        confirmed = {index: clinic.ask(signed) for index, clinic in there.clinics.items()}
        quorum = tuple((index, Confirmed.decode(each)) for index, each in confirmed.items())
        answer = Revealed.decode(there.clinics[2].ask(RevealRequest(header.encode(), everybody, quorum).encode()))
        assert [len(share) for share in answer.shares] == [16] * 5  # of own masks; no share of any key
        with pytest.raises(Refused) as caught:
            there.clinics[2].ask(RevealRequest(header.encode(), everybody[1:], quorum).encode())
        assert caught.value.attack is Attack.EQUIVOCATION


class TestTheCentersNumbers:
    def test_flower_masks_with_zeros_where_the_center_says_modulus_2(self):
        assert np.unique(TOOLS.pseudo_rand_gen(bytes(range(32)), 2, [(10_000,)])[0]).tolist() == [0]

    @pytest.mark.parametrize("threshold", [1, 2])
    def test_flower_takes_any_threshold(self, threshold):
        flower(threshold=threshold)

    def test_ours_takes_no_modulus_and_no_threshold_from_the_center(self):
        sent = {each.name for each in fields(Parameters)}
        assert sent.isdisjoint({"threshold", "quorum", "modulus", "clip", "degree"})
        terms = terms_for(5)
        assert (terms.quorum, terms.design.threshold, terms.least_survivors(5)) == (4, 4, 3)

    @pytest.mark.parametrize("bits", [1, 8, 31])
    def test_ours_knows_two_widths_of_lanes(self, bits):
        there = federation(5)
        with pytest.raises(Refused) as caught:
            there.clinics[1].ask(ConfirmRequest(there.header(bits=bits).encode(), (1, 2, 3)).encode())
        assert caught.value.attack is Attack.MALFORMED


class TestTheOwnKey:
    def test_flower_gives_a_share_of_its_own_key(self):
        states, *_ = flower()
        answer = MOD._unmask(states[2], {KEY.ACTIVE_NODE_ID_LIST: list(MEMBERS), KEY.DEAD_NODE_ID_LIST: [2]})
        assert len(answer[KEY.SHARE_LIST]) == 6

    def test_ours_gives_one_of_its_key_only_where_it_sent_nothing_that_counts(self):
        """One that is left out may help to open the others' sum: its vector stays under its own mask."""
        there = federation(5)
        header = there.header()
        for index in (1, 2, 3, 4):
            there.clinics[index].upload(header.encode(), random_lanes(index))
        with pytest.raises(Refused) as caught:
            there.clinics[5].ask(ConfirmRequest(header.encode(), (1, 2, 3, 4, 5)).encode())
        assert caught.value.attack is Attack.FALSE_SURVIVORS
