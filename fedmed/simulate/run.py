"""`fedmed simulate`: from a scenario to a folder with the model, the report and the commits."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from fedmed.clock import Clock, SystemClock
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError, FederationError, StoreError
from fedmed.federation.journal import Journal, events
from fedmed.federation.outcome import final_model
from fedmed.flower.fltrust import FLTrust
from fedmed.flower.strategies import build
from fedmed.learning import normed, tasks
from fedmed.learning.attacks.assigning import Attacks
from fedmed.learning.keeping import LOCAL, PERSONAL, before, below
from fedmed.learning.order import ModelSpec, Preparation
from fedmed.learning.plan import Described, Plan, make, scale_tensors
from fedmed.report import write_report
from fedmed.report.record import Report
from fedmed.report.rounds import table
from fedmed.simulate import answering, attacked, baselines, devices, dishonest, engines, members, timing
from fedmed.simulate.crew import InTurn
from fedmed.simulate.evaluation import Bench, Models
from fedmed.simulate.folder import RunFolder, replace_text
from fedmed.simulate.logs import Listener
from fedmed.simulate.summary import summarise
from fedmed.simulate.targets import Target
from fedmed.simulate.timing import Timing
from fedmed.sites import prepared
from fedmed.sites.cases import Site, class_counts
from fedmed.sites.prepare import sites_of
from fedmed.sites.readers import reader_named
from fedmed.sites.root import hold_root
from fedmed.sites.shelves import FileShelf
from fedmed.store.commits import Commit
from fedmed.store.ledgers import FOLDER as LEDGERS
from fedmed.wire import tensors as wire

MODEL = "model.safetensors"
METRICS = "torchmetrics.functional.classification"
MANY_SITES = 1_000_000  # how many there are is known later


@dataclass(frozen=True)
class Request:
    """One run: what, on which data, where."""

    scenario: Scenario
    data: Path | None
    out: Path
    resume: bool = False
    target: Target | None = None
    """How much of which measure of validation the report says the time to."""


def simulate(request: Request, clock: Clock | None = None) -> dict[str, Any]:
    """Run, or go on with a run; returns the report (also in `out/report.json` and `out/report.html`).

    Raises ConfigError, DataError, FederationError, StoreError or ResumeRefused; whatever is committed stays.
    """
    check_names(request.scenario)
    timing.check(request.scenario)
    folder = RunFolder(request.out)
    torch.set_num_threads(1)  # the site processes have the cores; and sums of several threads differ from run to run
    try:
        with folder.held():
            scenario = folder.claim(timing.as_run(request.scenario), request.resume)
            try:
                return _simulate(scenario, request, folder, clock or SystemClock())
            except (ConfigError, DataError):
                folder.withdraw()
                raise
    except OSError as error:
        raise StoreError(
            f"the run in {folder.path} stopped: {error}. What is committed stays: make room or mend the disk, then run the "
            "same command with --resume"
        ) from error


def check_names(scenario: Scenario) -> None:
    """Raise ConfigError for a task, a strategy or a reader that is not there, before any folder is touched."""
    tasks.resolve(scenario.task)
    build(scenario.strategy.name, scenario.strategy.options, MANY_SITES)
    reader_named(scenario.data.reader)
    if scenario.engine.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "engine.device: got cuda, but PyTorch sees no GPU here; allowed: cpu, or auto to take one if there is"
        )


def _simulate(scenario: Scenario, request: Request, folder: RunFolder, clock: Clock) -> dict[str, Any]:
    virtual = None if scenario.topology is None else timing.clock_for(scenario.topology, folder)
    journal = Journal(folder.path, clock if virtual is None else virtual)
    try:
        began = clock.now()
        engines.warm_up(scenario.engine)
        journal.say("preparing", scenario=scenario.name, rounds=scenario.rounds)
        if (mode := scenario.privacy.secure_aggregation) != "malicious":
            journal.say("privacy", secure_aggregation=mode)
        sites = sites_of(scenario.data, request.data, scenario.seed, scenario.source, scenario.topology)
        for site, aside in sites[0].train.set_aside:
            journal.say("set-aside", site=site, **asdict(aside))
        root, sites = rooted(scenario, sites)
        apart = devices.dealt(sites, scenario.topology)
        sites = list(apart.clinics)
        hostile = attacked.assign(scenario, sites, journal)
        fingerprint = prepared.lay_out(apart.all, folder.sites, attacked.written(hostile))
        if root is not None:
            prepared.lay_out([root], folder.sites / prepared.ROOT)
        apart.note(folder.sites)
        if scenario.privacy.is_masked:
            members.enrol(folder.sites, [site.name for site in sites], scenario, virtual or clock)
        timed = None if virtual is None else timing.timing_for(scenario, apart, virtual)
        if timed is not None:
            journal.say("virtual", masks=timing.masks_of(scenario), members=timed.who)
        workers = engines.workers_for(scenario.engine, len(sites))
        facts = folder.remember(fingerprint, workers)
        prepared_at = clock.now()
        Thread(target=import_module, args=(METRICS,), daemon=True).start()  # seconds; this process only waits now
        _federate(scenario, facts["workers"], folder, sites, journal, timed)
        trained_at = clock.now()
        report = _finish(folder, scenario, sites, facts | _crowded(folder), journal, hostile)
        seconds = {
            "prepare": prepared_at - began,
            "federate": trained_at - prepared_at,
            "compare": clock.now() - trained_at,
        }
        report |= dishonest.told(folder.path)
        report |= answering.told(scenario, timed, folder.path, report["rounds"], request.target)
        report |= {"seconds": {"total": clock.now() - began, "phases": seconds}}
        replace_text(folder.path / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
        write_report(folder.path)
        replace_text(folder.path / "rounds.csv", table(Report.model_validate(report)))
        journal.say("done", status=report["status"])
        return report
    finally:
        folder.clear_sites()
        journal.close()


def _crowded(folder: RunFolder) -> dict[str, Any]:
    """How a crowd trained, as the journal tells."""
    said = [event for event in events(folder.path) if event["event"] == "crowded"]
    return {"why_not_fast": said[-1]["why_not_fast"]} if said else {}


def rooted(scenario: Scenario, sites: list[Site]) -> tuple[Site | None, list[Site]]:
    """The center's root set, where the scenario's rule needs one, and the sites without its cases."""
    rule = build(scenario.strategy.name, scenario.strategy.options, len(sites))
    if not isinstance(rule, FLTrust):
        return None, sites
    return hold_root(sites, rule.root_share, scenario.seed)


def _federate(
    scenario: Scenario, workers: int, folder: RunFolder, sites: list[Site], journal: Journal, timed: Timing | None
) -> None:
    """Run the apps; what the sites said to their own staff, who are one person here, is told at the end or in an error."""
    listener = Listener(folder.path / LEDGERS, [site.name for site in sites])
    try:
        loads = [float(len(site.train)) for site in sites]
        engines.run(scenario, workers, folder.path, folder.sites, loads, journal, timed)
    except FederationError as error:
        listener.explain(error)
        raise
    for line, names in listener.said():
        journal.say("site-log", sites=names, line=line)


def _finish(
    folder: RunFolder, scenario: Scenario, sites: list[Site], facts: dict[str, Any], journal: Journal, hostile: Attacks
) -> dict[str, Any]:
    commit, _ = folder.commits.latest()
    if commit is None or commit.round < scenario.rounds:
        raise StoreError(f"the last commit in {folder.path} cannot be read; run the same command with --resume")
    plan = plan_of(scenario, commit, sites)
    federated = final_model(commit, scenario)
    models = _kept(federated, folder, scenario, len(sites))
    if scenario.evaluation.baselines:
        models = _compare(plan, folder, [site.name for site in sites], models, facts["workers"], journal)
    sha256 = wire.save({**federated, **scale_tensors(plan.preparation)}, folder.path / f".{MODEL}")
    (folder.path / f".{MODEL}").replace(folder.path / MODEL)
    journal.say("evaluating")
    report = summarise(commit, scenario, Bench(plan, sites), models, facts, sha256)
    return report | attacked.told(plan, sites, models, hostile, report["rounds"])


def plan_of(scenario: Scenario, commit: Commit, sites: list[Site]) -> Plan:
    """The run's plan, with the model and the scale that the commit was made with."""
    spec = ModelSpec.model_validate(commit.state["spec"])
    preparation = Preparation.model_validate(commit.state["preparation"])
    described = [_described(site, spec) for site in sites]
    anew = make(scenario, described)
    return replace(anew, spec=spec, preparation=preparation)


def _described(site: Site, spec: ModelSpec) -> Described:
    counts = tuple(class_counts(site.train).tolist())
    train = site.train
    return Described(site.name, train.classes, spec.inputs, {"train": len(train)}, counts, None, masks=train.has_masks)


def _kept(federated: wire.Tensors, folder: RunFolder, scenario: Scenario, sites: int) -> Models:
    """The federation's model and, where sites keep something, what each has of it."""
    training, task = scenario.training, scenario.task
    if not task.local and training.ditto is None:
        return Models(federated)
    held = [before(FileShelf(folder.path, number).held(), scenario.rounds + 1) for number in range(sites)]
    shared = tuple(normed.apply(federated, below(LOCAL, own)) for own in held) if task.local else None
    personal = None
    if training.ditto is not None:  # a site that never joined has none, and would begin with the shared one
        personal = tuple(below(PERSONAL, own) or federated for own in held)
    return Models(federated, shared=shared, personal=personal)


def _compare(plan: Plan, folder: RunFolder, names: list[str], models: Models, workers: int, journal: Journal) -> Models:
    target = folder.path / "baselines"
    target.mkdir(exist_ok=True)
    jobs = baselines.jobs_for(plan, folder.sites, names, target)
    journal.say("comparing", models=len(jobs))
    said = InTurn([job.name for job in jobs], lambda name: journal.say("compared", name=name))
    baselines.train_all(jobs, workers, said.done)
    own = tuple(wire.load(job.target) for job in jobs[:-1])
    models = replace(models, pooled=wire.load(jobs[-1].target), local=own)
    shutil.rmtree(target)
    return models
