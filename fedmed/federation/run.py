"""A whole run at the center: meet the sites, plan, round after round with a commit each, resume where a run stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedmed.clock import Clock
from fedmed.config.differences import differences
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, ResumeRefused
from fedmed.federation.account import Account
from fedmed.federation.average import Average
from fedmed.federation.best import Best
from fedmed.federation.buffered import Buffered
from fedmed.federation.crowded import Crowded
from fedmed.federation.entry import Entry, enter, enter_again
from fedmed.federation.gathering import Gathering, Plain, Record
from fedmed.federation.journal import Journal
from fedmed.federation.masked import Asking, Shape, Sums, refuse_for_sums
from fedmed.federation.meeting import Trust, asking_for, descriptions, meet, take_census
from fedmed.federation.memory import Memory
from fedmed.federation.patience import Asked, Notes, patience_for, work
from fedmed.federation.phase import Member, Phase
from fedmed.federation.private import PrivateSums, privately
from fedmed.federation.root import give
from fedmed.federation.rounds import RoundLoop
from fedmed.flower.fltrust import Train
from fedmed.flower.rule import Rule
from fedmed.flower.strategies import build
from fedmed.flower.transport import Transport
from fedmed.learning import control, weights
from fedmed.learning import plan as planning
from fedmed.learning.census import Census
from fedmed.learning.kinds import KINDS
from fedmed.learning.order import text_of
from fedmed.learning.plan import Described, Plan
from fedmed.store.commits import Commit, Commits
from fedmed.wire.canonical import canonical, digest
from fedmed.wire.tensors import Tensors

ENTRY = ("gate", "fingerprints")
CENSUS, CHOSEN, MASKED, CENTER = "census", "best", "secure_aggregation", "center"
MODEL, AVERAGE, STRATEGY, BEST = "model/", "average/", "strategy/", "best/"


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
    census: Census | None = None
    """What the sites have together, where the center learns sums only."""
    account: Account | None = None
    """What became of the masked rounds."""
    best: Best | None = None
    """The best model so far, where the run ends with that one."""


def run(
    transport: Transport,
    scenario: Scenario,
    commits: Commits,
    clock: Clock,
    journal: Journal,
    expected: int = 1,
    trust: Trust | None = None,
    committed: Callable[[Commit], None] = lambda commit: None,
    notes: Notes | None = None,
    root: Train | None = None,
) -> None:
    """Train with at least `expected` sites until the last round is committed; `trust` is needed for masked sums.

    `committed` is told of each commit once it is on the disk. `notes` of how fast sites are decide how long they are waited
    for where the scenario does not; without them all have the same time. `root` is the center's own training, for rules that
    judge updates by it.

    Raises FederationError (QuorumError) or StoreError; commits stay.
    """
    commit, faults = commits.latest()
    memory = _taken_up(transport, commit, journal)
    told = memory.descriptions if memory else descriptions(transport, scenario, expected)
    members, described = meet(told, journal)
    _refuse_strange_names(scenario, members)
    rule = Rule(build(scenario.strategy.name, scenario.strategy.options, len(members)), scenario.seed)
    rules = scenario.federation
    by_node = {member.node: member for member in members}
    account = Account(journal, None if commit is None else commit.state.get(MASKED))
    sites = {member.node: Asked(member.name, work(scenario.training, member.examples)) for member in members}
    patience = patience_for(rules, sites, notes, transport.nodes, clock)
    phase = Phase(transport, by_node, patience, rules.quorum, clock, account)
    asking = _asking(scenario, described, rule, phase, trust, memory) if scenario.privacy.is_masked else None
    give(rule, root)
    census, plan, gathering = _agree(scenario, described, rule, phase, asking, commit)
    state = replace(start(plan, rule, commit, faults, journal), census=census, account=account)
    _go_through_the_gate(state, scenario, described, journal)
    _say_what_is_held(rule, state.model, len(members), journal)
    loop = RoundLoop(rule, members, gathering, phase, rules.attempts)
    journal.say("start", rounds=scenario.rounds, round=state.round, sites=[member.name for member in members])
    while state.round < scenario.rounds:
        state = one_round(loop, plan, state, clock)
        account.moved(transport.said_down, transport.said_up)
        committed(_commit(commits, rule, plan, state, clock, _remembered(transport, told, asking)))
        transport.committed(state.round)
        journal.say("committed", **{key: state.history[-1][key] for key in ("round", "train", "validation", "seconds")})
    journal.say("end", round=state.round)


def _taken_up(transport: Transport, commit: Commit | None, journal: Journal) -> Memory | None:
    """What an earlier process knew at the last commit, where its messages are gone on with."""
    number = 0 if commit is None else commit.round
    goes_on = transport.take_up(number)
    if transport.steps_left:  # what follows was told before and is told again
        journal.say("taken-up", round=number + 1, steps=transport.steps_left)
    if commit is None or not goes_on or CENTER not in commit.state:
        return None
    return Memory.of(commit.state[CENTER])


def _remembered(transport: Transport, told: Mapping[int, str], asking: Asking | None) -> Entry:
    """What a commit keeps for a process that goes on with the same sites in the same epoch."""
    if not transport.lasts:
        return {}
    memory = Memory(told, {}, None) if asking is None else Memory(told, asking.epochs.people, asking.epochs.so_far())
    return {CENTER: memory.record()}


def _asking(
    scenario: Scenario, described: list[Described], rule: Rule, phase: Phase, trust: Trust | None, memory: Memory | None
) -> Asking:
    refuse_for_sums(rule)
    planning.refuse_unlike(scenario, described)
    return asking_for(scenario, phase, trust, memory)


def _agree(
    scenario: Scenario,
    described: list[Described],
    rule: Rule,
    phase: Phase,
    asking: Asking | None,
    commit: Commit | None,
) -> tuple[Census | None, Plan, Gathering]:
    """The census, the plan and the way to gather answers; a run that is taken up again counts nothing anew."""
    if asking is None:
        return None, planning.make(scenario, described), _in_clear(scenario, phase, rule)
    largest = {part: max(1, *(site.examples.get(part, 0) for site in described)) for part in ("train", "validation")}
    if scenario.privacy.differential_privacy is not None:
        mean = sum(site.examples["train"] for site in described) / len(described)
        plan, terms = privately(planning.make(scenario, described), len(described), mean, largest["train"])
        return None, plan, PrivateSums(asking, rule, plan, terms)
    known = None if commit is None else commit.state.get(CENSUS)
    census = take_census(asking, scenario, described[0], largest["train"]) if known is None else Census.of(known)
    plan = planning.make(scenario, described, census)
    return census, plan, Sums(asking, rule, Shape.of(plan, largest["train"], largest["validation"]))


def _in_clear(scenario: Scenario, phase: Phase, rule: Rule) -> Gathering:
    """The way to gather answers that the center sees."""
    rules, own = scenario.federation, scenario.training.metrics
    if (crowd := phase.transport.crowd) is not None:
        return Crowded(phase, rule, crowd)
    if rules.buffer is not None:
        return Buffered(phase, rule, rules, rules.buffer, own)
    return Plain(phase, rule, rules, own)


def start(plan: Plan, rule: Rule, commit: Commit | None, faults: Sequence[str], journal: Journal) -> State:
    """The state of the newest whole commit, or that of round 0; `faults` are those of newer ones."""
    for fault in faults:
        journal.say("damaged", fault=fault)
    last, rounds = plan.scenario.training.average_last, plan.scenario.rounds
    if commit is None:
        chosen = Best(KINDS[plan.spec.kind].leading) if plan.scenario.evaluation.choose == "best" else None
        return State(0, first_model(plan), Average(last, rounds), [], [], {}, best=chosen)
    _refuse_another_scenario(commit, plan.scenario)
    rule.restore(part(commit.tensors, STRATEGY), commit.state["strategy"])
    average = Average(last, rounds, part(commit.tensors, AVERAGE))
    journal.say("resumed", round=commit.round)
    if begun := commit.state["history"][-1].get("buffer", {}).get("under_way"):  # what they made nobody waits for any more
        journal.say("begun-anew", sites=begun)
    history, resumed = commit.state["history"], [*commit.state["resumed"], commit.round]
    entry: Entry = {name: commit.state[name] for name in ENTRY if name in commit.state}
    model = part(commit.tensors, MODEL)
    return State(commit.round, model, average, history, resumed, entry, best=best_of(commit))


def best_of(commit: Commit) -> Best | None:
    """The best model so far, where the run ends with that one."""
    told = commit.state.get(CHOSEN)
    return None if told is None else Best.of(told, part(commit.tensors, BEST))


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
    if before == scenario:  # another version of fedmed wrote it, with fewer keys
        return
    raise ResumeRefused(
        f"round {commit.round} was committed under another scenario; resuming would mix two. Changed:\n  "
        + "\n  ".join(differences(before, scenario))
    )


def one_round(loop: RoundLoop, plan: Plan, state: State, clock: Clock) -> State:
    """Train, then validate where the scenario says so."""
    number, scenario = state.round + 1, plan.scenario
    began, order = clock.now(), text_of(plan.order(state.round + 1))
    mean, record = loop.train(number, state.model, order)
    model = settled(plan, state.model, mean, len(record["joined"]) / loop.sites)
    trained = clock.now()
    due = number % scenario.evaluation.every == 0 or number == scenario.rounds
    record["validation"] = loop.validate(number, model, order) if due else None
    record["bytes"] = loop.moved()
    record["phases"]["validate"] = clock.now() - trained
    record["seconds"] = clock.now() - began
    state.average.add(number, model)
    best = None if state.best is None else state.best.after(number, record["validation"], model)
    return replace(state, round=number, model=model, history=[*state.history, record], best=best)


def settled(plan: Plan, before: Tensors, mean: Tensors, share: float) -> Tensors:
    """The global model after a round that `share` of the sites were in: what no site sends is as it was."""
    kept = {name: before[name] if name in plan.held else value for name, value in mean.items()}
    return control.settle(before, kept, share) if plan.scenario.training.scaffold else kept


def first_model(plan: Plan) -> Tensors:
    """What round one is given: the first weights, and what an algorithm has beside them."""
    first = plan.first_weights()
    return control.init(first, weights.trained_names(plan.spec, plan.held)) if plan.scenario.training.scaffold else first


def _commit(commits: Commits, rule: Rule, plan: Plan, state: State, clock: Clock, memory: Entry) -> Commit:
    began = clock.now()
    learned, remembered = rule.state()
    tensors = {
        **{MODEL + name: value for name, value in state.model.items()},
        **{AVERAGE + name: value for name, value in state.average.sums.items()},
        **{STRATEGY + name: value for name, value in learned.items()},
        **{BEST + name: value for name, value in (state.best.model if state.best else {}).items()},
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
        **memory,
    }
    if state.census is not None:
        described[CENSUS] = state.census.record()
    if state.account is not None and plan.scenario.privacy.is_masked:
        described[MASKED] = state.account.record()
    if state.best is not None:
        described[CHOSEN] = state.best.record()
    commit = Commit(state.round, tensors, described)
    commits.write(commit)
    state.history[-1]["phases"]["commit"] = clock.now() - began
    return commit


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _say_what_is_held(rule: Rule, model: Tensors, sites: int, journal: Journal) -> None:
    if peak := rule.peak_bytes(model, sites):
        journal.say("holds", strategy=rule.name, bytes=peak, sites=sites)
