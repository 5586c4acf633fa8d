"""The models to compare with: every site's own, and the pooled one. Each gets the federation's budget of passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fedmed.config.scenario import Training
from fedmed.errors import FederationError, FedmedError
from fedmed.federation.average import Average
from fedmed.learning import weights
from fedmed.learning.inputs import Inputs, moments_of, prepare, scale_of
from fedmed.learning.plan import Plan
from fedmed.learning.training import train
from fedmed.simulate.crew import do_all
from fedmed.sites.cases import Site
from fedmed.sites.prepared import names as laid_out_names
from fedmed.sites.prepared import open_site
from fedmed.wire import tensors as wire

POOLED = "pooled"


@dataclass(frozen=True)
class Job:
    """One model to train: on one site's cases, or on all of them."""

    plan: Plan
    sites_folder: Path
    members: tuple[int, ...]
    """Numbers of the sites whose cases it may see."""
    name: str
    target: Path


def train_all(jobs: Sequence[Job], workers: int, done: Callable[[str], None]) -> None:
    """Train every job's model in processes of one thread each; `done` hears the name of each that is finished."""
    for job, fault in do_all(train_one, sorted(jobs, key=lambda job: -len(job.members)), workers):
        if fault is not None:
            raise FederationError(f"the model of {job.name} to compare with could not be trained: {fault}")
        done(job.name)


def train_one(job: Job) -> str | None:
    """Train one model and save it to its target; returns what went wrong, as text that any process can carry."""
    torch.set_num_threads(1)
    try:
        wire.save(_trained(job), job.target)
    except (FedmedError, ValueError, RuntimeError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _trained(job: Job) -> wire.Tensors:
    sites = [open_site(job.sites_folder, number) for number in job.members]
    data = pooled_inputs(sites, job.plan) if job.name == POOLED else prepare(sites[0], job.plan.preparation)
    scenario = job.plan.scenario
    budget = pooled_budget(scenario.training, len(sites)) if job.name == POOLED else scenario.training
    average, model = Average(scenario.training.average_last, scenario.rounds), job.plan.first_weights()
    for number in range(1, scenario.rounds + 1):
        order = job.plan.order(number).model_copy(update={"training": budget})
        network = weights.loaded(job.plan.spec, model)
        train(network, data.train, order, job.name)
        model = {name: value.copy() for name, value in weights.read(network).items()}
        average.add(number, model)
    return average.final(model, scenario.rounds)


def pooled_budget(training: Training, sites: int) -> Training:
    """The pooled model's work a round: as many epochs, or the steps of all sites together."""
    return training if training.steps is None else training.model_copy(update={"steps": training.steps * sites})


def pooled_inputs(sites: Sequence[Site], plan: Plan) -> Inputs:
    """All cases in one place; where each site has a scale of its own, the pooled set has the pooled scale."""
    scale = None
    if plan.preparation.normalise == "site":
        parts = [moments_of(site.train, plan.preparation) for site in sites]
        scale = scale_of(sum(parts[1:], parts[0]))
    prepared = [prepare(site, plan.preparation, scale) for site in sites]
    return Inputs(POOLED, **{part: _joined(prepared, part) for part in ("train", "validation", "test")})


def _joined(prepared: Sequence[Inputs], part: str) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [getattr(inputs, part) for inputs in prepared]
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def jobs_for(plan: Plan, sites_folder: Path, names: Sequence[str], target: Path) -> list[Job]:
    """One job a site and one for all of them, their devices, which are no site of their own, included."""
    everybody = tuple(range(len(laid_out_names(sites_folder))))
    own = [Job(plan, sites_folder, (i,), name, target / f"local-{i:05d}.safetensors") for i, name in enumerate(names)]
    return [*own, Job(plan, sites_folder, everybody, POOLED, target / "pooled.safetensors")]
