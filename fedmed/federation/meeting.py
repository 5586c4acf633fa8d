"""Before the first round: who the sites are, what they say of themselves, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from fedmed.config.scenario import Scenario
from fedmed.errors import DataError, FederationError, ProtocolRefused
from fedmed.federation.epochs import Epochs, Names
from fedmed.federation.journal import Journal
from fedmed.federation.masked import Asking
from fedmed.federation.memory import Memory
from fedmed.federation.patience import Opened
from fedmed.federation.phase import Member, Phase
from fedmed.federation.sums import Opener
from fedmed.flower.keys import BYTES, CONFIG_KEY, DESCRIBE, MEMBER
from fedmed.flower.transport import Transport
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.member import Identity, member_name
from fedmed.learning import plan as planning
from fedmed.learning.census import Census
from fedmed.learning.order import text_of
from fedmed.learning.plan import Described
from fedmed.sites.partition import refuse_site_names


@dataclass(frozen=True)
class Trust:
    """What the center knows sites by, and what its terms are bound to."""

    authority: bytes
    """Public key of the authority that signs the sites' certificates, DER."""
    names: Names


def descriptions(transport: Transport, scenario: Scenario, expected: int) -> dict[int, str]:
    """What each site says of itself, by node, once `expected` sites are there; one that cannot is named and refused."""
    deadline_s = scenario.federation.longest_s

    def present() -> list[int]:
        transport.await_nodes(expected, deadline_s)
        return transport.nodes()

    nodes = transport.draw("nodes", present)
    answers = transport.ask(DESCRIBE, nodes, text_of(planning.inquiry(scenario)), deadline_s)
    for node in nodes:
        reply = answers.get(node)
        if reply is None or reply.error is not None:
            reason = "no answer" if reply is None else reply.error
            raise FederationError(f"site at node {node} could not describe its cases: {reason}")
    return {node: str(answers[node].config.get(CONFIG_KEY)) for node in nodes}


def meet(told: Mapping[int, str], journal: Journal) -> tuple[list[Member], list[Described]]:
    """Every site's name and description, out of what it says by node. Raises DataError for what no site may say."""
    found: dict[str, tuple[Member, Described]] = {}
    for node, text in told.items():
        site = Described.parse(text)
        refuse_site_names([site.name])
        if site.examples.get("train", 0) <= 0:
            raise DataError(f"site {site.name} has no training cases; remove the site or give it data")
        if site.name.casefold() in found:
            raise DataError(f"two sites are named {site.name!r}; every site needs a name of its own")
        found[site.name.casefold()] = Member(site.name, node, site.examples["train"]), site
    journal.say("met", sites={member.name: member.examples for member, _ in found.values()})
    pairs = [found[name] for name in sorted(found)]
    return [member for member, _ in pairs], [site for _, site in pairs]


def people(phase: Phase, trust: Trust) -> dict[int, PublicMember]:
    """The sites' identities by node. Raises FederationError for one that has none, or is certified under another name."""
    found: dict[int, PublicMember] = {}
    opened = Opened(phase.patience, MEMBER)
    for reply in phase.transport.exchange(MEMBER, dict.fromkeys(phase.members, b""), opened):
        name = phase.members[reply.node].name
        try:
            if reply.error is not None:
                raise ProtocolRefused(reply.error)
            member = read_certificate(bytes(reply.config.get(BYTES, b"")), trust.authority, phase.clock.unix())
        except ProtocolRefused as error:
            raise FederationError(f"site {name} shows no certificate of this federation: {error}") from error
        if member.name != (allowed := member_name(name)):
            raise FederationError(f"site {name} is certified as {member.name!r}; allowed: {allowed!r}")
        found[reply.node] = member
    if silent := [f"{member.name} {opened.had(node)}" for node, member in phase.members.items() if node not in found]:
        raise FederationError(f"no certificate from {'; '.join(sorted(silent))}")
    return found


def asking_for(scenario: Scenario, phase: Phase, trust: Trust | None, memory: Memory | None = None) -> Asking:
    """The way to ask the sites for sums; `memory` is that of an earlier process, whose epoch goes on.

    Raises FederationError where the sites cannot be trusted to be who they are.
    """
    if trust is None:
        raise FederationError("secure aggregation is on, and this center was given no authority to know the sites by")
    rules, patience = scenario.privacy, phase.patience
    transport, clock, journal = phase.transport, phase.clock, phase.journal
    known: Mapping[int, Identity] = memory.people if memory else people(phase, trust)
    epochs = Epochs(transport, known, rules, trust.names, patience, clock, journal)
    if memory is not None and memory.epochs is not None:
        epochs.go_on_from(memory.epochs)
    return Asking(epochs, phase, Opener(transport, patience, journal), rules)


def take_census(asking: Asking, scenario: Scenario, first: Described, most: int) -> Census:
    """What all sites have together, of cases like those of `first`; none has more than `most`.

    Raises FederationError where any is missing.
    """
    width = prod(first.inputs) if scenario.data.normalise == "federated" else None
    text = text_of(planning.inquiry(scenario))
    return asking.census(text, len(first.classes), width, most, 2 * scenario.rounds + 1)
