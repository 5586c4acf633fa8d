"""A lying center against real sites: the clinic's app behind real gates, asked by hand and over whole runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.config.loading import parse
from fedmed.errors import FederationError, QuorumError
from fedmed.flower import keys
from fedmed.flower.arrays import all_views, own
from fedmed.learning.order import Inquiry
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import convening, opening, questions
from fedmed.privacy.secagg.layout import Whole
from fedmed.privacy.secagg.round_messages import ConfirmRequest
from fedmed.simulate import engines
from fedmed.simulate.run import Request, simulate
from fedmed.store.commits import Commits
from fedmed.wire.digest import digest_of
from tests.attacks.secagg import watched
from tests.attacks.secagg.lying import SCENARIO, Refusal, There, Twist, four_sites, lying, write_cases


@pytest.fixture
def there(simulated, tmp_path) -> There:
    found = four_sites(tmp_path)
    found.set_up(found.terms())
    return found


def refused(text: str) -> Any:
    return pytest.raises(Refusal, match=text)


def test_an_honest_round_by_hand_opens(there):
    layout = there.layout()
    state, vectors = there.uploaded(there.header(1, layout), layout)
    for index in vectors:
        state = opening.confirm(state, index, there.ask(there.node_of(index), keys.PROTOCOL, opening.confirm_request(state)))
    for index in vectors:
        state = opening.reveal(state, index, there.ask(there.node_of(index), keys.PROTOCOL, opening.reveal_request(state)))
    assert len(opening.open_sum(state).streams) == 4


@pytest.mark.parametrize("is_model", [True, False])
def test_another_model_or_order_than_the_header_names_is_refused(there, is_model):
    layout = there.layout()
    crafted = {name: value + np.float32(1) for name, value in there.model.items()}
    asked = (
        there.proposal(model=crafted) if is_model else there.proposal(order=there.order.replace('"seed":42', '"seed":43'))
    )
    assert digest_of(asked.text, asked.model) != digest_of(there.proposal().text, there.model)
    with refused("another round, cohort or model"):
        there.work(there.nodes[0], there.header(1, layout), layout, asked)


def test_a_site_that_was_given_another_model_with_its_own_header_is_never_opened(there):
    """Both headers are of round 1: the site signs for the one, and confirms no other."""
    layout, crafted = there.layout(), {name: value + np.float32(1) for name, value in there.model.items()}
    asked, header = there.proposal(model=crafted), there.header(1, layout)
    own_header = replace(header, model=digest_of(asked.text, crafted))
    victim = there.node_of(1)
    envelope, _ = there.work(victim, own_header, layout, asked)
    state = opening.begin(there.agreed, header)
    with pytest.raises(FederationError, match="another round, cohort or model"):
        opening.take(state, 1, envelope, bytes(32))
    request = ConfirmRequest(header.encode(), (1, 2, 3, 4)).encode()
    with refused("another round, cohort or model"):
        there.ask(victim, keys.PROTOCOL, request)
    for index in (2, 3, 4):  # those who are in the honest round name no survivor of the other
        there.work(there.node_of(index), header, layout)
        with refused("another round, cohort or model"):
            there.ask(there.node_of(index), keys.PROTOCOL, ConfirmRequest(own_header.encode(), (1, 2, 3, 4)).encode())


def test_a_round_is_worked_on_once(there):
    layout, node = there.layout(), there.nodes[0]
    header = there.header(1, layout)
    envelope, vector = there.work(node, header, layout)
    sent = vector.tobytes()
    again = there.work(node, header, layout)
    assert (again[0], again[1].tobytes()) == (envelope, sent), "the same bytes, however often"
    crafted = {name: value + np.float32(1) for name, value in there.model.items()}
    asked = there.proposal(model=crafted)
    with refused("round used before"):
        there.work(node, replace(header, model=digest_of(asked.text, crafted)), layout, asked)


def test_a_sum_over_two_is_confirmed_by_nobody(there):
    layout = there.layout()
    state, vectors = there.uploaded(there.header(1, layout), layout)
    for index in vectors:
        with refused("sum over too few clinics"):
            there.ask(there.node_of(index), keys.PROTOCOL, ConfirmRequest(state.header.encode(), (1, 2)).encode())


def test_a_cohort_of_two_is_not_worked_for(there):
    layout = there.layout()
    with refused("sum over too few clinics"):
        there.work(there.node_of(1), there.header(1, layout, cohort=(1, 2)), layout)


def test_nobody_gives_both_kinds_of_share(there):
    """All four survive; then the same round is asked for once more as if the first had been lost before its upload."""
    layout = there.layout()
    state, vectors = there.uploaded(there.header(1, layout), layout)
    lost = replace(state, survivors=(2, 3, 4))
    for index in vectors:
        state = opening.confirm(state, index, there.ask(there.node_of(index), keys.PROTOCOL, opening.confirm_request(state)))
    for index in vectors:
        there.ask(there.node_of(index), keys.PROTOCOL, opening.reveal_request(state))
    for index in vectors:
        for request in (opening.confirm_request(lost), opening.reveal_request(replace(lost, confirmed=state.confirmed))):
            with refused("two survivor sets in one round"):
                there.ask(there.node_of(index), keys.PROTOCOL, request)


@pytest.mark.parametrize("kind", ["train", "evaluate", keys.CENSUS])
def test_work_that_is_not_masked_is_refused(there, kind):
    with refused("sends nothing unmasked"):
        there.tell(there.nodes[0], kind, there.proposal().content)


def test_work_of_another_purpose_than_the_header_s_is_refused(there):
    layout = there.layout()
    with refused("another model, layout or purpose"):
        there.work(there.nodes[0], there.header(1, layout, purpose=Purpose.EVALUATION), layout)


@pytest.mark.parametrize("clients", [1, 3, 5])
def test_a_layout_for_other_than_the_members_is_refused(there, clients):
    layout = there.layout(clients=clients)
    with refused(f"a layout for {clients} clinics; this epoch has 4"):
        there.work(there.nodes[0], there.header(1, layout), layout)


def test_another_layout_than_the_header_s_is_refused(there):
    layout = there.layout()
    other = there.layout(bits=16)
    with refused("another model, layout or purpose"):
        there.work(there.nodes[0], there.header(1, layout), other)
    with refused("another model, layout or purpose"):
        there.work(there.nodes[0], replace(there.header(1, other), bits=32), other)


def test_fields_and_bounds_of_the_centers_own_are_refused_and_the_refusal_is_told(there):
    node, honest = there.nodes[0], there.layout()
    narrow = tuple(replace(each, bound=0.5 * 50) if each.name == "loss.sum" else each for each in honest.fields)
    asked = ((Whole("num-examples", 50),), (*honest.fields, Whole("patients", 50)), (), narrow)
    lies = [there.layout(fields=fields) for fields in asked]
    lies += [there.layout(bound=1e-3), there.layout(most_weight=30, fields=questions.update_fields(30))]
    for layout in lies:
        with refused("ProtocolRefused: the center asks for .*allowed: ") as caught:
            there.work(node, there.header(1, layout), layout)
        assert f"before any data was looked at: {str(caught.value).partition(': ')[2]}" in there.log_of(node)
    there.work(node, there.header(1, honest), honest)


def test_what_an_app_says_of_its_failure_stays_with_the_staff(there):
    layout = there.layout()
    asked = there.proposal(order="no order")
    with pytest.raises(Refusal) as caught:
        there.work(there.nodes[0], there.header(1, layout, model=digest_of(asked.text, asked.model)), layout, asked)
    assert str(caught.value) == "UpdateRefused: the site sends nothing in this round; its own log says why"
    assert "ValidationError" in there.log_of(there.nodes[0])


def test_a_member_that_nobody_approved_is_refused(there):
    roster = tuple(sorted([*there.agreed.terms.roster, b"s" * 32]))
    keys_ = dict.fromkeys(range(1, 6), bytes(32))
    state = convening.convene(there.terms(roster=roster, epoch=2), keys_)
    for node in there.nodes:
        with refused("unpinned member in the roster"):
            there.ask(node, keys.PROTOCOL, convening.requests(state)[1])


def test_a_center_that_asks_for_counts_is_told_none(there):
    with refused("declared sizes only") as caught:
        there.describe(Inquiry(normalise="federated").model_dump_json())
    assert not any(str(number) in str(caught.value) for number in (28, 29, 30, 40))
    told = json.loads(there.describe(Inquiry(normalise="federated", masked=True).model_dump_json()))
    assert told["examples"]["train"] == 50
    assert told.keys() == {"name", "classes", "inputs", "examples"}


def test_a_description_that_fails_is_told_to_the_staff_alone(there):
    with refused("its own log says why"):
        there.describe("no inquiry")
    assert "ValidationError" in there.log_of(there.nodes[0])


def test_nothing_else_is_answered(there):
    with refused("answers nothing of the kind 'query.cases'"):
        there.tell(there.nodes[0], "query.cases", RecordDict())


def whole_run(folder: Path, twist: Twist, *overrides: str) -> dict[str, Any]:
    request = Request(parse(SCENARIO, "lied-to.yaml", overrides), write_cases(folder / "data"), folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "InProcessGrid", lying(twist))
        patch.setattr(engines, "members", watched)
        return simulate(request)


def number_in(message: Message) -> int:
    return int(json.loads(str(message.content["config"][keys.CONFIG_KEY]))["round"])


def crafted_for(node: int, number: int) -> Twist:
    """Another model for one node in one round of training."""

    def twist(message: Message) -> Message | None:
        meta = message.metadata
        if (meta.dst_node_id, meta.message_type) != (node, "train") or number_in(message) != number:
            return None
        content = RecordDict(dict(message.content))
        content["arrays"] = own({name: value + np.float32(1) for name, value in all_views(message.content).items()})
        return Message(content, node, "train")

    return twist


def test_a_run_goes_on_without_the_site_that_was_given_another_model(simulated, tmp_path):
    report = whole_run(tmp_path, crafted_for(3, 2))
    (missing,) = report["rounds"][1]["missing"].items()
    assert missing[0] == "north"
    assert "another round, cohort or model" in missing[1]
    assert [report["rounds"][each]["missing"] for each in (0, 2)] == [{}, {}]
    _matches_the_exact_sums(tmp_path / "run", {2: [0, 2, 3]})


def _matches_the_exact_sums(run: Path, survivors: dict[int, list[int]], rounds: int = 3) -> None:
    """Each commit's model is that of the exact sum over the sites that were left, to the bit."""
    models = {}
    for path in sorted((run / "commits").iterdir()):
        commit = Commits(run).read(int(path.name[-6:]))
        models[commit.round] = {name[6:]: value for name, value in commit.tensors.items() if name.startswith("model/")}
    given = {site: iter([each for each in watched.secrets_of(run, site) if each.kind == "train"]) for site in range(4)}
    for number in range(1, rounds + 1):
        expected = watched.new_model([next(given[site]) for site in survivors.get(number, [0, 1, 2, 3])])
        assert all(models[number][name].tobytes() == value.tobytes() for name, value in expected.items())


def test_of_three_sites_one_that_was_given_another_model_costs_the_round(simulated, tmp_path):
    write_cases(tmp_path / "three", ("east", "north", "south"))
    request = Request(parse(SCENARIO, "lied-to.yaml", ()), tmp_path / "three", tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "InProcessGrid", lying(crafted_for(3, 2)))
        with pytest.raises(QuorumError, match="sum over too few clinics") as caught:
            simulate(request)
    assert "north: Refused: another round, cohort or model" in str(caught.value)
    commit, _ = Commits(tmp_path / "run").latest()
    assert commit.round == 1


def test_a_center_that_wants_nothing_masked_learns_nothing(simulated, tmp_path):
    """`secure_aggregation: off` at the center, on at the sites."""

    def twist(message: Message) -> Message | None:
        if message.metadata.message_type != keys.DESCRIBE:
            return None
        asked = Inquiry.model_validate_json(str(message.content["config"][keys.CONFIG_KEY])).model_copy(
            update={"masked": False}
        )
        content = RecordDict({"config": ConfigRecord({keys.CONFIG_KEY: asked.model_dump_json()})})
        return Message(content, message.metadata.dst_node_id, keys.DESCRIBE)

    with pytest.raises(FederationError, match="declared sizes only"):
        whole_run(tmp_path, twist)
