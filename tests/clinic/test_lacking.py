from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clinic import lacking
from fedmed.clinic.colleagues import Colleague
from fedmed.clinic.lacking import Here, Said
from fedmed.clinic.releasing import released
from fedmed.errors import ConfigError
from fedmed.identity.member import NAME, Identity
from tests.clinic.staff import offer
from tests.clinic.test_releasing import dataset

OPTIONS = {"site": "ward", "classes": ["0", "1"]}
PROPOSAL = offer().proposal
WARDS = dataset(options=OPTIONS)
OTHERS = tuple(
    Colleague(Identity(name, b"transport", b"signing"), approved, conflict)
    for name, approved, conflict in (("east", True, False), ("south", False, False), ("west", False, True))
)
ALL = {
    "approver": {"approver": "frey"},
    "passphrase": {"passphrase": True},
    "data": {"source": True},
    "release": {"release": False},
    "member": {"members": {"south": "skip"}},
    "yes": {"yes": True},
}
OPTION = {
    "approver": "--approver",
    "passphrase": "--passphrase-file",
    "data": "--folder",
    "release": "--no-release",
    "member": "--member south=",
    "yes": "--yes",
}


@given(st.sets(st.sampled_from(sorted(ALL))))
def test_each_answer_takes_away_its_own_question_and_no_other(answers):
    said = Said(**{key: value for answer in answers for key, value in ALL[answer].items()})
    found = lacking.lacking(PROPOSAL, Here((), (), OTHERS), said, now=0)
    assert [sum(OPTION[each] in line for line in found) for each in ALL] == [each not in answers for each in ALL]
    assert len(found) == len(ALL) - len(answers)


def test_what_is_there_is_not_asked_for():
    free = released(WARDS, "research", None, None, "frey", 0)
    assert lacking.lacking(PROPOSAL, Here(("frey",), (free,)), Said(passphrase=True, yes=True), now=0) == []
    [line] = lacking.lacking(PROPOSAL, Here(("frey",), (WARDS,)), Said(passphrase=True, yes=True), now=0)
    assert "--release" in line


def test_who_signs():
    assert lacking.signer(("frey",), None) == "frey"
    assert lacking.signer(("frey", "lang"), None) is None
    assert lacking.signer((), None) is None
    assert lacking.signer((), "frey") == "frey"
    with pytest.raises(ConfigError, match="vouches: fedmed clinic approver lang --by frey"):
        lacking.signer(("frey",), "lang")
    with pytest.raises(ConfigError, match="cannot be called"):
        lacking.signer((), "Dr. Frey")


def test_the_data_set_that_fits_is_taken():
    other, more = dataset(name="other", reader="npz"), dataset(name="more", options=OPTIONS)
    scenario = PROPOSAL.scenario
    assert lacking.choice(scenario, (other, WARDS), None) == WARDS
    assert lacking.choice(scenario, (more, WARDS), None) is None
    assert lacking.choice(scenario, (more, WARDS), "more") == more
    assert lacking.choice(scenario, (WARDS,), "none") is None
    assert "more than one data set fits: more, wards" in lacking.which(scenario, (more, WARDS), None)
    assert "registered as npz" in lacking.which(scenario, (other,), None)
    assert "no data set is registered" in lacking.which(scenario, (), None)
    assert "called 'x' here; there are: wards" in lacking.which(scenario, (WARDS,), "x")


def test_no_member_is_asked_for_where_nothing_is_encrypted():
    plain = offer("privacy.secure_aggregation=off").proposal.scenario
    assert lacking.strangers(plain, OTHERS) == []
    assert [each.identity.name for each in lacking.strangers(PROPOSAL.scenario, OTHERS)] == ["south"]


@given(st.text(min_size=1, max_size=90), st.integers(0, 4))
def test_a_data_set_is_called_after_its_folder_as_a_data_set_may_be(name, again):
    taken: list[str] = []
    for _ in range(again + 1):
        found = lacking.called_after(Path("/srv") / name, taken)
        assert NAME.fullmatch(found)
        assert found not in taken
        taken.append(found)


@pytest.mark.parametrize("said", [["south"], ["south="], ["south=skip", "south=a b c d e f"]])
def test_members_are_said_by_name(said):
    assert lacking.read_members(["south=a b", "west=skip"]) == {"south": "a b", "west": "skip"}
    with pytest.raises(ConfigError, match="NAME=skip"):
        lacking.read_members(said)
