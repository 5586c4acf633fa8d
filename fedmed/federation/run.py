"""A whole run at the center: meet the sites, plan, round after round with a commit each, resume where a run stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedmed.clock import Clock
from fedmed.config.differences import differences
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError, FederationError, ResumeRefused
from fedmed.federation.average import Average
from fedmed.federation.entry import Entry, enter, enter_again
from fedmed.federation.journal import Journal
from fedmed.federation.phase import Member
from fedmed.federation.rounds import Record, RoundLoop
from fedmed.flower.keys import CONFIG_KEY
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.flower.transport import Transport
from fedmed.learning import plan as planning
from fedmed.learning.plan import Described, Plan
from fedmed.sites.partition import refuse_site_names
from fedmed.store.commits import Commit, Commits
from fedmed.wire.canonical import canonical, digest
from fedmed.wire.tensors import Tensors

ENTRY = ("gate", "fingerprints")
MODEL, AVERAGE, STRATEGY = "model/", "average/", "strategy/"


@dataclass
class State:
    """What the next round starts from."""

    round: int
    model: Tensors
    average: Average
    history: list[Record]
    resumed: list[int]
    """Rounds after which the run was taken up again."""
    entry: Entry
    """What the gate found before round one."""


def run(
    transport: Transport, scenario: Scenario, commits: Commits, clock: Clock, journal: Journal, expected: int = 1
) -> None:
    """Train with at least `expected` sites until the last round is committed.

    Raises FederationError (QuorumError) or StoreError; commits stay.
    """
    transport.await_nodes(expected, scenario.federation.deadline_s)
    members, described = meet(transport, scenario, clock, journal)
    _refuse_strange_names(scenario, members)
    plan = planning.make(scenario, described)
    rule = Rule(build(scenario.strategy.name, scenario.strategy.options, len(members)), scenario.seed)
    state = start(plan, rule, commits, journal)
    _go_through_the_gate(state, scenario, described, journal)
    _say_what_is_held(rule, state.model, len(members), journal)
    loop = RoundLoop(transport, rule, members, scenario.federation, clock, journal)
    journal.say("start", rounds=scenario.rounds, round=state.round, sites=[member.name for member in members])
    while state.round < scenario.rounds:
        state = one_round(loop, plan, state, clock)
        _commit(commits, rule, plan, state, clock)
        journal.say("committed", **{key: state.history[-1][key] for key in ("round", "train", "validation", "seconds")})
    journal.say("end", round=state.round)


def meet(transport: Transport, scenario: Scenario, clock: Clock, journal: Journal) -> tuple[list[Member], list[Described]]:
    """Every site's name and description; a site that cannot describe itself is named and refused."""
    nodes = transport.nodes()
    request = planning.inquiry(scenario).model_dump_json()
    answers = transport.ask("query.describe", nodes, request, scenario.federation.deadline_s)
    found: dict[str, tuple[Member, Described]] = {}
    for node in nodes:
        reply = answers.get(node)
        if reply is None or reply.error is not None:
            reason = "no answer" if reply is None else reply.error
            raise FederationError(f"site at node {node} could not describe its cases: {reason}")
        site = Described.parse(str(reply.config.get(CONFIG_KEY)))
        refuse_site_names([site.name])
        if site.examples.get("train", 0) <= 0:
            raise DataError(f"site {site.name} has no training cases; remove the site or give it data")
        if site.name.casefold() in found:
            raise DataError(f"two sites are named {site.name!r}; every site needs a name of its own")
        found[site.name.casefold()] = Member(site.name, node, site.examples["train"]), site
    journal.say("met", sites={member.name: member.examples for member, _ in found.values()})
    pairs = [found[name] for name in sorted(found)]
    return [member for member, _ in pairs], [site for _, site in pairs]


def start(plan: Plan, rule: Rule, commits: Commits, journal: Journal) -> State:
    """The state of the newest whole commit, or that of round 0."""
    commit, faults = commits.latest()
    for fault in faults:
        journal.say("damaged", fault=fault)
    if commit is None:
        return State(0, plan.first_weights(), Average(plan.scenario.training.average_last, plan.scenario.rounds), [], [], {})
    _refuse_another_scenario(commit, plan.scenario)
    rule.restore(_part(commit.tensors, STRATEGY), commit.state["strategy"])
    average = Average(plan.scenario.training.average_last, plan.scenario.rounds, _part(commit.tensors, AVERAGE))
    journal.say("resumed", round=commit.round)
    history, resumed = commit.state["history"], [*commit.state["resumed"], commit.round]
    entry: Entry = {name: commit.state[name] for name in ENTRY if name in commit.state}
    return State(commit.round, _part(commit.tensors, MODEL), average, history, resumed, entry)


def _go_through_the_gate(state: State, scenario: Scenario, sites: list[Described], journal: Journal) -> None:
    if state.round == 0:
        state.entry = enter(scenario.federation, sites, journal)
    else:
        state.entry = enter_again(state.entry, scenario.federation, sites, journal)


def _refuse_strange_names(scenario: Scenario, members: list[Member]) -> None:
    names = {member.name for member in members}
    if strange := sorted(set(scenario.federation.quorum.required) - names):
        raise ConfigError(f"federation.quorum.required names {', '.join(strange)}; the sites are {', '.join(sorted(names))}")


def _refuse_another_scenario(commit: Commit, scenario: Scenario) -> None:
    if commit.state["scenario_sha256"] == digest(scenario.model_dump(mode="json")):
        return
    before = Scenario.model_validate_json(canonical(commit.state["scenario"]))
    raise ResumeRefused(
        f"round {commit.round} was committed under another scenario; resuming would mix two. Changed:\n  "
        + "\n  ".join(differences(before, scenario))
    )


def one_round(loop: RoundLoop, plan: Plan, state: State, clock: Clock) -> State:
    """Train, then validate where the scenario says so."""
    number, scenario = state.round + 1, plan.scenario
    began, order = clock.now(), plan.order(state.round + 1).model_dump_json()
    model, record = loop.train(number, state.model, order)
    trained = clock.now()
    due = number % scenario.evaluation.every == 0 or number == scenario.rounds
    record["validation"] = loop.validate(number, model, order) if due else None
    record["bytes"] = loop.moved()
    record["phases"]["validate"] = clock.now() - trained
    record["seconds"] = clock.now() - began
    state.average.add(number, model)
    return State(number, model, state.average, [*state.history, record], state.resumed, state.entry)


def _commit(commits: Commits, rule: Rule, plan: Plan, state: State, clock: Clock) -> None:
    began = clock.now()
    learned, remembered = rule.state()
    tensors = {
        **{MODEL + name: value for name, value in state.model.items()},
        **{AVERAGE + name: value for name, value in state.average.sums.items()},
        **{STRATEGY + name: value for name, value in learned.items()},
    }
    described: dict[str, Any] = {
        "scenario": plan.scenario.model_dump(mode="json"),
        "scenario_sha256": digest(plan.scenario.model_dump(mode="json")),
        "spec": plan.spec.model_dump(mode="json"),
        "preparation": plan.preparation.model_dump(mode="json"),
        "strategy": remembered,
        "history": state.history,
        "resumed": state.resumed,
        **state.entry,
    }
    commits.write(Commit(state.round, tensors, described))
    state.history[-1]["phases"]["commit"] = clock.now() - began


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _say_what_is_held(rule: Rule, model: Tensors, sites: int, journal: Journal) -> None:
    if peak := rule.peak_bytes(model, sites):
        journal.say("holds", strategy=rule.name, bytes=peak, sites=sites)
