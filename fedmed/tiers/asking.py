"""A clinic's devices as its hub asks them: which of them, which way, and who is told what of it.

Whatever fails in here costs the clinic its devices' part of a round, never the round; the staff hears who is not in it and
why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fedmed.clock import Clock
from fedmed.errors import FedmedError, QuorumError
from fedmed.privacy.secagg import opening
from fedmed.tiers.epochs import Epochs, Names
from fedmed.tiers.fold import Part
from fedmed.tiers.messages import Task
from fedmed.tiers.playing import Play, Work
from fedmed.tiers.round import NONE_CAME, DeviceRound, Rules
from fedmed.tiers.terms import Device, Way, layout_for, mode_in, privacy_fault, told, way_for
from fedmed.tiers.transport import Bounded, Transport
from fedmed.wire.digest import digest_of

NOT_IN = "not in this epoch of secure aggregation"


@dataclass(frozen=True)
class Gathered:
    """How a round of devices went."""

    parts: tuple[Part, ...]
    """None where the clinic goes on alone; several of a plain round."""
    way: Way
    joined: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Device -> why its update is not in."""
    accused: tuple[str, ...] = ()
    reason: str = ""
    """Why the devices' part was given up, if it was."""
    words: str = ""
    """What the way protects against; to be shown with the round."""


class Devices:
    """A clinic's devices, as its hub asks them."""

    def __init__(
        self,
        transport: Transport,
        known: Callable[[], Sequence[Device]],
        scope: str,
        rules: Rules,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        """`known`: all devices that the clinic has enrolled, reachable or not; `scope` is that of `terms.scope`."""
        self._transport, self._known, self._scope = Bounded(transport), known, scope
        self._rules, self._clock, self._tell = rules, clock, tell
        self._missed = set[str]()  # devices whose update had not come when its round was over
        self._epochs = Epochs(self._transport, clock, rules.opening_s, tell)

    def cases(self) -> int:
        """Training cases that all of them declared."""
        return sum(each.cases for each in self._known())

    def ask(self, work: Work, is_trained: Callable[[], bool] = lambda: False) -> Gathered:
        """One round; it never raises for what devices do, and never takes longer than its rules say.

        `is_trained`: whether the clinic's own training is over; it is asked again and again.
        """
        try:
            known = sorted(self._known(), key=lambda each: each.name)
        except FedmedError as error:
            return self._told(Gathered((), Way.MASKED, reason=str(error)))
        way = way_for(len(known))
        if not known:
            return Gathered((), way, reason="the clinic has no devices")
        if fault := privacy_fault(mode_in(work.order)):
            return self._told(Gathered((), way, reason=fault))
        failed = dict[str, str]()
        self._transport.begin(_ends(self._rules, self._clock, is_trained))
        try:
            play = self._begun(way, self._chosen(known, failed, work), failed, work)
            play.is_trained = is_trained
            state = play.run()
        except FedmedError as error:  # the line to the devices is down, for one
            self._epochs.renew()
            return self._told(Gathered((), way, failed=failed, reason=str(error)))
        if play.is_shut:
            self._epochs.renew()
        words = told(way, len(state.joined))
        return self._told(
            Gathered(play.parts, way, state.joined, failed | dict(state.failed), play.accused, state.reason, words)
        )

    def _chosen(self, known: Sequence[Device], failed: dict[str, str], work: Work) -> list[Device]:
        """The devices that can be asked and whose cases fit; why the others are not goes into `failed`."""
        online = set(self._transport.devices())
        chosen, others = _fitting([each for each in known if each.name in online], work.room)
        failed |= others | {each.name: "not connected" for each in known if each.name not in online}
        return chosen

    def _begun(self, way: Way, chosen: Sequence[Device], failed: dict[str, str], work: Work) -> Play:
        """Raises QuorumError, ConfigError, ProtocolRefused."""
        if not chosen:
            raise QuorumError("no device can be asked")
        cases = {each.name: each.cases for each in chosen}
        most = max(cases.values())
        if way is Way.PLAIN:
            layout = layout_for(work.tensors, work.bound, len(chosen), most, work.own)
            state = DeviceRound(self._rules, tuple(each.name for each in chosen))
            task = Task(way, b"", layout.canonical(), work.order, work.model)
            return Play(self._transport, self._clock, work, state, layout, task, cases)
        current = self._epochs.current(chosen, Names(self._scope, work.run))
        failed |= {each.name: NOT_IN for each in chosen if each.name not in current.index}
        cohort = tuple(each.name for each in chosen if each.name in current.index)
        layout = layout_for(work.tensors, work.bound, current.agreed.terms.members, most, work.own)
        header = self._epochs.header(current, cohort, digest_of(work.order, work.model), layout)
        state = DeviceRound(self._rules, cohort, current.index, opening.begin(current.agreed, header))
        task = Task(way, header.encode(), layout.canonical(), work.order, work.model)
        return Play(self._transport, self._clock, work, state, layout, task, cases)

    def _told(self, gathered: Gathered) -> Gathered:
        """Tell the staff how it went, by name."""
        self._missed |= {device for device, why in gathered.failed.items() if why.startswith(NONE_CAME)}
        for device in self._transport.late():
            if device in self._missed:  # else it is a share that was not needed any more
                self._tell(f"the update of device {device} came when its round was over: it was dropped")
                self._missed.discard(device)
        for device, why in sorted(gathered.failed.items()):
            self._tell(f"device {device} is not in this round: {why}")
        for device in gathered.accused:
            self._tell(f"device {device} gave shares that do not fit, or was dealt them: look at it")
        if not gathered.parts:
            self._tell(f"the clinic's update goes on without its devices: {gathered.reason}")
        else:
            self._tell(f"devices in this round: {', '.join(gathered.joined)}. {gathered.words}")
        return gathered


def _ends(rules: Rules, clock: Clock, is_trained: Callable[[], bool]) -> Callable[[], float]:
    """When a round that begins now is over, whatever of it is under way."""
    began, trained = clock.now(), list[float]()

    def ends() -> float:
        if not trained and is_trained():
            trained.append(clock.now())
        return min([began + rules.whole_s, *(at + max(rules.after_s, at - began) for at in trained)])

    return ends


def _fitting(devices: Sequence[Device], room: int) -> tuple[list[Device], dict[str, str]]:
    """The devices whose cases fit into what the clinic declared, by name, and why the others do not."""
    chosen, failed = list[Device](), dict[str, str]()
    for each in sorted(devices, key=lambda one: one.name):
        if each.cases < 1 or each.cases > room:
            failed[each.name] = f"{each.cases} training cases; the clinic has declared room for {room} more"
            continue
        chosen.append(each)
        room -= each.cases
    return chosen, failed
