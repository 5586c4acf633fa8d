"""The way to an approval, step by step: what is there already is not asked for, and what was done stays done.

Where there is somebody to ask, each step is written once it was answered, so that whoever stops goes on from there. Where
there is nobody, all answers are looked at first, and nothing is written before all will do.
"""

from __future__ import annotations

import getpass
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fedmed.cli import asking, casing, datasets, enlisting, members
from fedmed.cli.awaiting import offer
from fedmed.cli.requests import Request
from fedmed.clinic import colleagues, lacking, offers, releasing, wheels
from fedmed.clinic.consenting import Consent, Considered
from fedmed.clinic.datasets import DataSets
from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.lacking import SKIP, Here
from fedmed.clinic.plainly import Row
from fedmed.clinic.recording import recorder
from fedmed.config.dataset import DataSet
from fedmed.errors import ConfigError
from fedmed.identity.approval import Signed
from fedmed.identity.approver import FILE, ApproverKey, Approvers
from fedmed.identity.authority import day
from fedmed.identity.member import Identity
from fedmed.identity.pins import words
from fedmed.wire.visible import visible


class Guide:
    """One run, from what the command line said to a signature."""

    def __init__(self, folder: ClinicFolder, request: Request) -> None:
        """`facts` is what `--json` says was done, and grows."""
        self._folder, self._request, self._asks = folder, request, request.may_ask
        self._approvers = Approvers(folder.path / FILE)
        self._later: list[Callable[[], None]] = []
        self._done: list[dict[str, Any]] = []
        self._notes: list[str] = []
        self.facts: dict[str, Any] = {"done": self._done}

    def to_the_end(self) -> Signed:
        """Raises ConfigError with all that nobody can be asked for, or where somebody said no; and as its parts do."""
        folder, request = self._folder, self._request
        way = folder.line()
        self._offered = offer(way, request.run, request.wait, folder.clock)
        self._here = self._what_is_there()
        self._refuse_what_lacks()
        self._consent = Consent(folder, wheels.lock(), lambda app: offers.fetched(way, app), recorder(folder))
        name, key = self._signer()
        chosen, considered = self._cases()
        self._release(chosen)
        self._members()
        self._show(considered)
        if self._asks and not asking.yes(f"Approve this as {name}?"):
            raise ConfigError(f"the run was not approved{'; what was said before stays' if self._done else ''}")
        key = key or self._key(name)
        for write in self._later:
            write()
        self.facts |= {"changes": considered.changes, "notes": [*considered.notes, *self._notes]}
        return self._consent.sign(considered, name, key, Approvers(folder.path / FILE))

    def _what_is_there(self) -> Here:
        known, own = DataSets(self._folder.path), self._folder.keys().fingerprint
        self._listed = colleagues.listed(self._folder)
        beside = colleagues.beside_pins(self._listed, self._folder.pins())
        others = tuple(each for each in beside if each.identity.fingerprint != own)
        return Here(tuple(self._approvers), tuple(known.get(name) for name in known.names()), others)

    def _refuse_what_lacks(self) -> None:
        """All that is wrong with the answers beforehand is said before the first question."""
        request, proposal = self._request, self._offered.proposal
        lacks = lacking.lacking(proposal, self._here, request.said(), self._folder.clock.unix())
        if self._asks:
            scenario = proposal.scenario
            asking.say(f"{proposal.run}: {scenario.title}. Purpose: {scenario.purpose}. Reads: {scenario.data.reader}.")
        elif lacks:
            raise ConfigError("\n  ".join(["nothing is asked here, and these are not said:", *lacks]))
        for name, typed in request.members.items():
            member = colleagues.the_one(self._listed, name)
            if typed != SKIP:
                members.compare(member, typed)

    def _do(self, write: Callable[[], object], facts: dict[str, Any], told: str) -> None:
        """Write now where somebody answered, else once all will do."""

        def done() -> None:
            write()
            self._done.append(facts)
            if not self._request.as_json:
                sys.stdout.write(told)
                sys.stdout.flush()

        if self._asks:
            done()
        else:
            self._later.append(done)

    def _signer(self) -> tuple[str, ApproverKey | None]:
        """Who signs; the key where it can be had without a question, or was made just now."""
        said, known = self._request.signature, self._here.approvers
        name = lacking.signer(known, said.approver)
        if name is None:
            question = (
                f"Who approves ({' or '.join(known)})" if known else "Who approves here for the first time (a short name)"
            )
            name = asking.until_it_will_do(partial(self._named_by, question))
        path = enlisting.place(self._folder, name, said.key)
        if name in known:
            return name, (None if self._asks and said.passphrase_file is None else self._key(name))
        make = partial(enlisting.key_for, name, path, said.passphrase_file)
        made = asking.until_it_will_do(make) if self._asks and said.passphrase_file is None else make()
        self._do(partial(enlisting.enlist, self._folder, made), made.facts, made.told(self._folder))
        return name, made.key

    def _named_by(self, question: str) -> str:
        name = asking.line(question)
        enlisting.place(self._folder, name, self._request.signature.key)
        return lacking.signer(self._here.approvers, name) or name

    def _key(self, name: str) -> ApproverKey:
        said = self._request.signature
        path = enlisting.place(self._folder, name, said.key)
        if said.passphrase_file is not None:
            return ApproverKey.load(path, asking.passphrase(said.passphrase_file, ""))
        if not path.exists():
            raise ConfigError(f"{path}: no approver's key is there; name it with --key")
        return asking.until_it_will_do(lambda: ApproverKey.load(path, asking.passphrase(None, f"Passphrase of {name}")))

    def _cases(self) -> tuple[DataSet, Considered]:
        """The data set and what approving means for it; neither has to be on the disk."""
        scenario, cases = self._offered.proposal.scenario, self._request.cases
        consider = partial(self._consent.consider, self._offered, terms=self._request.terms)
        known = None if cases.are_told else lacking.choice(scenario, self._here.datasets, cases.dataset)
        if known is not None:
            return known, consider(known)
        finder = casing.Finder(self._folder, scenario, cases, self._here.datasets, self._asks)
        chosen, considered, read = finder.find(consider)
        if read is not None:
            facts = {"dataset": chosen.name, "cases": chosen.cases.model_dump(), "set_aside": len(read.set_aside)}
            told = "\n".join(datasets.counts(read)) + "\n"
            self._do(partial(datasets.keep, self._folder, read), facts, told)
        return chosen, considered

    def _release(self, chosen: DataSet) -> None:
        said, proposal, now = self._request.release, self._offered.proposal, self._folder.clock.unix()
        purpose = proposal.scenario.purpose
        if lacking.is_released(chosen, proposal, now):
            return
        if chosen.withdrawn is not None:
            self._notes.append(f"{chosen.name} was withdrawn at {day(chosen.withdrawn.unix)} by {chosen.withdrawn.by}")
        if said is None and self._asks:
            asking.say("\n".join(["", *self._notes]))
            said = asking.yes(f"May runs for the purpose {purpose!r} use {chosen.name}, once each is approved?")
        if not said:
            self._notes.append(
                f"approving is not enough: {chosen.name} is not released; say: fedmed clinic data release {chosen.name} "
                f"--purpose {purpose}"
            )
            return
        by = getpass.getuser()
        how = partial(releasing.released, purpose=purpose, run=None, until=None, by=by, now=now)
        write = partial(datasets.let, self._folder, chosen.name, how, purpose, None)
        self._do(
            lambda: [write()].clear(),
            {"released": chosen.name, "purpose": purpose},
            f"{chosen.name} is released for {purpose}\n",
        )

    def _members(self) -> None:
        scenario, said = self._offered.proposal.scenario, self._request.members
        strangers, skipped = lacking.strangers(scenario, self._here.others), []
        if strangers and self._asks:
            asking.say(f"\nmembers that are not approved here yet: {', '.join(each.identity.name for each in strangers)}")
            asking.say(f"for those who telephone you, this clinic's own six words: {words(self._folder.keys().fingerprint)}")
        for each in strangers:
            name = each.identity.name
            if name in said or not self._asks:
                agreed = said[name] != SKIP
            else:
                agreed = asking.until_it_will_do(partial(_typed, each.identity))
            if agreed:
                add = partial(self._folder.pins().add, each.identity)
                self._do(add, {"member": name, "words": each.words}, members.pinned(name))
            else:
                skipped.append(name)
        self.facts["skipped"] = skipped
        if skipped:
            self._notes.append(
                f"rounds with {', '.join(skipped)} will be refused here, until approved: fedmed clinic members approve NAME"
            )
        self._notes += [
            f"{each.identity.name} is listed with OTHER KEYS than those approved here: telephone it before you go on"
            for each in self._here.others
            if each.conflict
        ]

    def _show(self, considered: Considered) -> None:
        out = sys.stderr if self._request.as_json else sys.stdout
        lines = _folded(considered.rows, shutil.get_terminal_size().columns if out.isatty() else None)
        if considered.previous is not None:
            lines += ["", f"since it was approved at {day(considered.previous.approved)}, this changed:"]
            lines += considered.changes or ["nothing"]
        notes = [*considered.notes, *self._notes]
        lines += ["", *(f"note: {visible(note)}" for note in notes)] if notes else []
        out.write("\n" * self._asks + "\n".join(lines) + "\n\n")
        out.flush()


def _folded(rows: Sequence[Row], columns: int | None) -> list[str]:
    """Names in one column, what is said of them in another, folded where a terminal is that narrow."""
    width = max(len(name) for name, _ in rows) + 2
    room = None if columns is None else max(columns - width, 20)
    found = list[str]()
    for name, text in rows:
        first, *more = textwrap.wrap(text, room) if room else [text]
        found += [f"{name.ljust(width)}{first}", *(" " * width + line for line in more)]
    return found


def _typed(member: Identity) -> bool:
    """Whether the member's words were typed; Enter alone leaves it out. Raises PinRefused for other words."""
    asking.say(f"\n{members.telephone(member)}")
    typed = asking.line("Type the words that it reads to you (Enter alone skips it)", empty=True)
    if typed:
        members.compare(member, typed)
    return bool(typed)
