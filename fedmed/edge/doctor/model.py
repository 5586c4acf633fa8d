"""Check of the released model: slot, package, and in each precision its self-test and latency, in a process of its own."""

from __future__ import annotations

from fedmed.edge.doctor.configuration import Subject
from fedmed.edge.preparing import recipe_of
from fedmed.edge.released import ANCHOR, FOLDER, options_of
from fedmed.errors import FedmedError
from fedmed.operation.doctor.finding import Finding, fail, ok, skipped, warn
from fedmed.operation.doctor.running import Seen
from fedmed.releases.slots import Slots
from fedmed.releases.slotstore import STATE, SlotStore
from fedmed.serving.apart import Shown, rungs_apart
from fedmed.serving.climbing import Trial
from fedmed.serving.engines import table
from fedmed.serving.ladder import Rung
from fedmed.serving.packages import Package
from fedmed.serving.testing import Limits
from fedmed.wire.visible import visible

RUNS, EACH_S = 20, 12.0
"""Calls that are timed, and seconds for one precision, its process included."""
NOTHING = Shown(0, lambda: iter(()))


def model(seen: Seen) -> Finding:
    """Of the release whose results count here."""
    subject: Subject = seen["subject"]
    if not (subject.folder / FOLDER / "state" / STATE).is_file():
        return skipped("model", "no release has come yet")
    try:
        store = SlotStore(subject.folder / FOLDER, subject.folder / ANCHOR)
        slots = store.load()
        if slots.running is None:
            return skipped("model", "no release runs yet")
        package = Package.load(store.package(slots.running))
        recipe_of(package.card)
    except FedmedError as error:
        todo = "the agent goes back to the release before by itself; where there is none, enrol the device anew"
        return fail("model", visible(str(error)), "a package that is whole", todo)
    return _judged(subject, slots, package)


def _judged(subject: Subject, slots: Slots, package: Package) -> Finding:
    wanted, card = subject.config.inference, package.card
    how = Trial(RUNS, Limits(seconds=EACH_S), options_of(subject.folder, wanted))
    rungs = rungs_apart(package, NOTHING, how, wanted.backend)
    place = "on trial" if slots.trial is not None else "committed"
    got = f"{card.name} {card.version}, {place}: {'; '.join(map(_said, rungs))}"
    asked = [each for each in rungs if wanted.precision in ("auto", each.precision)]
    if not asked:
        states = "; ".join(f"{name}: {state}" for name, state in table.report().items())
        todo = f"let edge.yaml name a precision and a back end that are here ({states})"
        return fail("model", f"{card.name} {card.version}: no {wanted.precision} on {wanted.backend}", "an engine", todo)
    failed = [each for each in asked if each.failure]
    if len(failed) == len(asked):
        todo = "roll the release back (fedmed release rollback), or mend what its engine says"
        return fail("model", got, "a self-test that passes", todo)
    if failed:
        return warn("model", got, "self-tests that pass", "the agent leaves out what fails; see its engine's words")
    return ok("model", got)


def _said(rung: Rung) -> str:
    return f"{rung.precision} on {rung.backend} {visible(rung.failure) if rung.failure else f'{rung.median_ms:.3g} ms'}"
