"""A whole epoch with one round from fixed secrets, as hex: what another implementation has to arrive at.

    python -m tests.privacy.secagg.vectors     writes protocol_vectors.json anew, on purpose only

Three clinics, terms of two rounds; clinic i signs with the Ed25519 key of 32 bytes i, and draws its secrets in the order
nonce, mail key, own masks' secrets of rounds 1 and 2, round keys of 1 and 2, Shamir's coefficients, from the bytes
SHA-256(i || j), j = 0, 1, ... (one byte each). The vector of clinic i is i times 1, 2, ..., 8.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed.privacy.secagg import convening, masks, opening
from fedmed.privacy.secagg.client import Began
from fedmed.privacy.secagg.member import Mask, Member
from fedmed.privacy.secagg.parameters import Parameters, Policy
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given
from tests.privacy.secagg.federation import LAYOUT, MODEL, Clinic, Signer

PATH = Path(__file__).parent / "protocol_vectors.json"
LANES = 8


@dataclass
class Drawn:
    """Bytes of SHA-256 in counter mode."""

    clinic: int
    at: int = 0

    def __call__(self, size: int) -> bytes:
        blocks = (hashlib.sha256(bytes((self.clinic, j))).digest() for j in range((self.at + size) // 32 + 1))
        found = b"".join(blocks)[self.at : self.at + size]
        self.at += size
        return found


def made() -> dict[str, Any]:
    """All that is sent and derived, as hex."""
    signers = sorted(
        (Signer(Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32)) for i in (1, 2, 3)), key=lambda s: s.fingerprint
    )
    pins = {each.fingerprint: each.public for each in signers}
    terms = Parameters("federation", "run", 7, tuple(sorted(pins)), colluders=0, dropouts=0, rounds=2)
    clinics = {i: Clinic(Member(each, Policy("federation", pins), Drawn(i))) for i, each in enumerate(signers, 1)}
    found: dict[str, Any] = {"terms": terms.encode().hex(), "context": terms.context.hex()}
    state: Any = convening.convene(terms, {i: each.public for i, each in enumerate(signers, 1)})
    while isinstance(state, convening.Convening):
        asked = convening.requests(state)
        answers = {index: clinics[index].ask(request) for index, request in asked.items()}
        found[state.phase.value] = [
            {"request": asked[index].hex(), "answer": answer.hex()} for index, answer in answers.items()
        ]
        for index, answer in answers.items():
            state = convening.take(state, index, answer)
        state = convening.proceed(state)
    return found | {"transcript": state.transcript.hex()} | _round(clinics, state)


def _round(clinics: dict[int, Clinic], agreed: convening.Agreed) -> dict[str, Any]:
    header = Header(1, 1, (1, 2, 3), MODEL, LAYOUT, LANES, 32)
    state, total = opening.begin(agreed, header), np.zeros(LANES, np.uint32)
    uploads = []
    for index, clinic in clinics.items():
        (mask,) = clinic.tell(Began(Given(header.encode(), 1, MODEL, LAYOUT, LANES, 32)))
        assert isinstance(mask, Mask)
        seeds = [{"seed": each.seed.hex(), "sign": each.sign} for each in mask.streams]
        envelope, masked = clinic.upload(header.encode(), index * np.arange(1, LANES + 1, dtype=np.uint32))
        uploads.append({"streams": seeds, "vector": masked.astype("<u4").tobytes().hex(), "envelope": envelope.hex()})
        state, total = opening.take(state, index, envelope, vector_digest(masked)), total + masked
    state = opening.close(state)
    found: dict[str, Any] = {"header": header.encode().hex(), "round_digest": state.digest.hex(), "uploads": uploads}
    for phase, request, take in (
        ("confirm", opening.confirm_request, opening.confirm),
        ("reveal", opening.reveal_request, opening.reveal),
    ):
        asked = request(state)
        answers = {index: clinic.ask(asked) for index, clinic in clinics.items()}
        found[phase] = {"request": asked.hex(), "answers": [answer.hex() for answer in answers.values()]}
        for index, answer in answers.items():
            state = take(state, index, answer)
    masks.apply(total, opening.open_sum(state).streams)
    return found | {"sum": total.tolist()}


if __name__ == "__main__":
    PATH.write_text(json.dumps(made(), indent=1) + "\n")
