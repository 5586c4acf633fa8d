"""A run in plain words for the staff that approves it, and what changed since they approved it last."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from fedmed.clinic.wheels import changes
from fedmed.config.dataset import DataSet
from fedmed.config.differences import between
from fedmed.config.scenario import Scenario
from fedmed.errors import ProtocolRefused, VersionRefused
from fedmed.identity.approval import Approval
from fedmed.identity.authority import day
from fedmed.identity.proposal import App
from fedmed.wire.visible import visible

Row = tuple[str, str]
_ENCRYPTION = {
    "malicious": "on: the center learns sums over several clinics, also where it cheats",
    "hbc": "weaker: the center learns sums over several clinics, and is trusted to name everybody the same ones",
    "off": "OFF: THE CENTER SEES THIS CLINIC'S OWN UPDATES, COUNTS AND MEASURES",
}


def rows(approval: Approval, dataset: DataSet, own: App) -> list[Row]:
    """What is approved, a line a subject."""
    proposal = approval.offered().proposal
    scenario = proposal.scenario
    return [
        ("run", f"{approval.run}, {visible(scenario.title)}"),
        ("what it is", visible(" ".join(scenario.description.split())) or "not said"),
        ("purpose", approval.purpose),
        ("your data", _data(dataset)),
        ("model", _model(approval, scenario)),
        ("training", _training(approval, scenario)),
        ("asked of you", _asked(scenario)),
        ("encryption", _ENCRYPTION[approval.encryption]),
        ("sums over", f"{approval.least_members} clinics at least" if approval.encryption != "off" else "nobody but you"),
        ("privacy", _privacy(scenario)),
        ("program", _program(proposal.app, own)),
        (
            "packages",
            f"those of this machine now ({len(approval.packages)})" if approval.wheels else "any, also after updates",
        ),
        ("center's fedmed", visible(proposal.fedmed)),
        ("digest", approval.digest),
        ("holds until", day(approval.expires)),
    ]


def changed(old: Approval, new: Approval, old_files: Mapping[str, bytes], new_files: Mapping[str, bytes]) -> list[str]:
    """All that differs from an approval given before, lines for a pager; empty where nothing does."""
    before, after = (each.model_dump(mode="json", exclude=_TOLD_OTHERWISE) for each in (old, new))
    found = [*between(_scenario(old), _scenario(new)), *(f"approval.{line}" for line in between(before, after))]
    orders = ({key: each.order.get(key) for key in _OWN_WORD} for each in (old, new))
    found += [f"order.{line}" for line in between(*orders)]
    found += [f"package {line}" for line in changes(old.packages, new.packages) if old.wheels and new.wheels]
    if old.wheels and new.wheels and old.wheels != new.wheels and old.packages == new.packages:
        found.append("packages: of the same versions, but other files")
    return [*map(visible, found), *program_changes(old_files, new_files)]


def program_changes(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[str]:
    """A unified diff of every file of an app that was added, removed or changed."""
    for name in sorted({**old, **new}):
        before, after = (_lines(files.get(name)) for files in (old, new))
        if old.get(name) != new.get(name):
            names = (f"a/{name}" if name in old else "/dev/null", f"b/{name}" if name in new else "/dev/null")
            yield from (
                difflib.unified_diff(before, after, *names, lineterm="") if before != after else (f"{name}: {_UNSHOWN}",)
            )


_UNSHOWN = "added or removed without content, or changed in bytes that are no text"
_OWN_WORD = ("model", "preparation", "augment", "bins", "privacy")  # of an order, what this fedmed makes of the scenario
_TOLD_OTHERWISE = {"proposal", "packages", "approved", "expires", "order", "inquiry"}


def _scenario(approval: Approval) -> dict[str, object]:
    """The proposal as JSON, its scenario's keys first and without a prefix, whatever version wrote it."""
    try:
        said = approval.offered().proposal.model_dump(mode="json")
    except (ProtocolRefused, VersionRefused):
        said = dict(approval.proposal.get("proposal", {}))
    scenario = said.pop("scenario", {})
    return {**scenario, "proposal": said}


def _lines(content: bytes | None) -> list[str]:
    text = (content or b"").decode("utf-8", "backslashreplace")
    return [visible(line.replace("\t", "    ")) for line in text.split("\n")] if content else []


def _data(dataset: DataSet) -> str:
    cases = dataset.cases
    held = f"{cases.train} to train on, {cases.validation} to validate with, {cases.test} held back"
    return f"{dataset.name}: {held} ({dataset.unit}s; classes {', '.join(map(visible, dataset.classes))})"


def _model(approval: Approval, scenario: Scenario) -> str:
    model = approval.order["model"]
    size = " x ".join(map(str, model["inputs"]))
    begins = "" if scenario.task.init is None else ", beginning with weights that the center has"
    return f"{model['name']} for inputs of {size} and {model['classes']} classes{begins} ({approval.architecture[:16]})"


def _training(approval: Approval, scenario: Scenario) -> str:
    training = scenario.training
    work = f"{training.epochs} passes" if training.epochs is not None else f"{training.steps} steps"
    free = "".join(f"; {key} anywhere from {low:g} to {high:g}" for key, (low, high) in sorted(approval.ranges.items()))
    return (
        f"{scenario.rounds} rounds of {work} each, {training.optimiser} at {training.learning_rate:g} "
        f"({training.schedule}), combined by {scenario.strategy.name}{free}"
    )


def _asked(scenario: Scenario) -> str:
    more = [f"a number {name} of the program's own within ±{bound:g}" for name, bound in scenario.training.metrics.items()]
    if scenario.federation.gate != "off":
        more.append("counts of images by what they are like, before the first round")
    return "; ".join(["declared sizes, class counts, an update and a validation each round", *more])


def _privacy(scenario: Scenario) -> str:
    private = scenario.privacy.differential_privacy
    if private is None:
        return "none: what the model tells of single patients is not bounded"
    return (
        f"{private.mode}, epsilon {private.epsilon:g} at most over the run (delta {private.delta:g}, clip {private.clip:g})"
    )


def _program(app: App, own: App) -> str:
    if app.kind == "bundle":
        return f"the researcher's own, {app.bytes} bytes, {app.entry} ({app.digest[:16]})"
    note = "" if app == own else "; the center's version has another one, which is not used here"
    return f"the one that comes with fedmed here ({own.digest[:16]}){note}"
