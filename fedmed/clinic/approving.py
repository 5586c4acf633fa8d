"""From a center's proposal to an approval that can be signed: what the run will ask of this clinic, worked out here.

Nothing of the model is taken from the center: which network the scenario's task means, for cases of this shape, is what this
clinic's own fedmed makes of it, and an order that says otherwise is refused in the run.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from fedmed.clinic import matching
from fedmed.clinic.datasets import described
from fedmed.clinic.judging import architecture, judge_protection
from fedmed.clinic.terms import Terms
from fedmed.clinic.wheels import Lock
from fedmed.config.dataset import DataSet
from fedmed.config.roles import Clinic
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.identity.approval import MOST_DAYS, Approval
from fedmed.identity.proposal import App, Offered, bundled
from fedmed.learning import inputs, tasks, weights
from fedmed.learning import plan as planning
from fedmed.learning.order import PrivateWork
from fedmed.learning.plan import Described, Plan
from fedmed.sites.cases import Cases
from fedmed.wire import bundle

DAY_S = 86_400


def draft(offered: Offered, dataset: DataSet, policy: Clinic, own: App, wheels: Lock, terms: Terms, now: float) -> Approval:
    """The approval of a proposal for a data set, before anybody signed it; `own` is this clinic's built-in app.

    Raises NotApproved where the clinic's own rules are stricter, ConfigError with everything that does not go together.
    """
    proposal = offered.proposal
    scenario = proposal.scenario
    if faults := matching.faults(scenario, dataset):
        raise ConfigError("\n  ".join(["the data set is not what the run describes:", *faults]))
    plan = _plan(scenario, dataset)
    privacy = scenario.privacy
    private = privacy.differential_privacy
    made = Approval(
        federation=policy.federation,
        clinic=policy.name,
        run=proposal.run,
        proposal=_said(offered),
        digest=offered.digest,
        app=own.digest if proposal.app.kind == "built-in" else proposal.app.digest,
        wheels=None if terms.any_wheels else wheels.digest,
        packages={} if terms.any_wheels else wheels.packages,
        purpose=scenario.purpose,
        dataset=dataset.name,
        described=described(dataset),
        architecture=architecture(plan.spec.model_dump(mode="json"), weights.read(weights.built(plan.spec))),
        class_weights=tasks.resolve(scenario.task).class_weights,
        order=plan.order(1).model_dump(mode="json"),
        inquiry=planning.inquiry(scenario).model_dump(mode="json"),
        ranges=_ranges(scenario, terms.ranges),
        encryption=privacy.secure_aggregation,
        least_members=privacy.least_sum,
        epsilon=None if private is None else private.epsilon,
        privacy_mode=None if private is None else private.mode,
        approved=int(now),
        expires=int(now) + _days(terms.days) * DAY_S,
    )
    judge_protection(made, policy)
    return made


def app_files(app: App, content: bytes) -> dict[str, bytes]:
    """The files of a bundle from the center. Raises ProtocolRefused where it is another one, or hides installed code."""
    try:
        found = bundled(content)
    except ConfigError as error:
        raise ProtocolRefused(str(error)) from error
    if found != app:
        raise ProtocolRefused(
            f"the center sent an app with the digest {found.digest[:16]}; the proposal has {app.digest[:16]}: it was swapped"
        )
    files = bundle.unpack(content)
    if hidden := sorted(_hidden(files)):
        raise ProtocolRefused(
            f"the app has files called like what is installed, which they would hide: {', '.join(hidden[:5])}; rename them"
        )
    return files


def _hidden(files: Mapping[str, bytes]) -> set[str]:
    """Top-level modules of an app that are fedmed's, Python's or an installed package's: an app is first on the path."""
    tops = {name.split("/")[0].removesuffix(".py") for name in files if name.endswith(".py")}
    taken = {*sys.stdlib_module_names, "fedmed"}
    return {top for top in tops if top in taken or (top.isidentifier() and importlib.util.find_spec(top) is not None)}


def _plan(scenario: Scenario, dataset: DataSet) -> Plan:
    """The plan of the run as if this clinic were alone; class counts and sums are made up, since none is approved."""
    preparation = planning.first_preparation(scenario)
    case = Cases(
        np.zeros((1, *dataset.shape), dataset.stored),
        np.zeros((1, *dataset.shape[-dataset.spatial :]) if dataset.masks else 1, np.uint8 if dataset.masks else np.int64),
        dataset.classes,
        features=dataset.features,
        spatial=dataset.spatial,
    )
    shape, classes = inputs.featurise(case, preparation).shape[1:], dataset.classes
    site = Described(dataset.name, classes, tuple(shape), {"train": 1}, (1,) * len(classes), None, masks=dataset.masks)
    made, private = planning.make(scenario, [site]), scenario.privacy.differential_privacy
    if private is None:
        return made
    noise = 1.0 if private.noise is None else private.noise
    work = PrivateWork(mode=private.mode, clip=private.clip, noise_multiplier=noise, rate=private.rate or 1.0)
    return replace(made, private=work)


def _ranges(scenario: Scenario, said: Iterable[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    found = {key: (low, high) for key, low, high in said}
    for key, (low, high) in found.items():
        own = getattr(scenario.training, key)
        if own is None or not low <= own <= high:
            raise ConfigError(f"--allow {key}={low:g}..{high:g} leaves out what the run itself has ({own}); widen it")
    if found and scenario.privacy.differential_privacy is not None:
        raise ConfigError("--allow: under differential privacy every step is charged as the run has it; approve it as it is")
    return found


def _days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"--days {days}; an approval is for 1 to {MOST_DAYS} days")
    return days


def _said(offered: Offered) -> dict[str, object]:
    said: dict[str, object] = json.loads(offered.content)
    return said
