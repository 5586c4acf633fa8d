"""What the tests of a lying center have in common: rounds up to the point of the lie, and the refusal by its name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.privacy.secagg import opening
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given
from tests.privacy.secagg.federation import (
    LAYOUT,
    MODEL,
    Federation,
    random_lanes,
)


def refused(attack: Attack, text: str = ""):
    """A refusal that names the attack, first of all in its text, and says this."""
    return pytest.raises(Refused, match=f"^{attack.value}: .*{text}", check=lambda error: error.attack is attack)


def uploaded(there: Federation, number: int = 1, who: list[int] | None = None) -> opening.Opening:
    header = there.header(number)
    state = opening.begin(there.agreed, header)
    for index in who or list(there.clinics):
        envelope, masked = there.clinics[index].upload(header.encode(), random_lanes(index))
        state = opening.take(state, index, envelope, vector_digest(masked))
    return opening.close(state)


def signed_by(state: opening.Opening, there: Federation, who: list[int]) -> opening.Opening:
    for index in who:
        state = opening.confirm(state, index, there.clinics[index].ask(opening.confirm_request(state)))
    return state


def given(there: Federation, number: int = 1, **changes) -> Given:
    header = there.header(number)
    return replace(Given(header.encode(), 1, MODEL, LAYOUT, 64, 32), **changes)
