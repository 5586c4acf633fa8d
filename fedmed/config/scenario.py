"""The scenario file as frozen models: what a federation trains, on what, with whom and under which rules.

Every field states its unit and its bounds; unknown keys are refused. The file itself is read by `fedmed.config.loading`,
which reports every fault with its line.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fedmed.config import crowd_scenarios, kept_scenarios, private_scenarios
from fedmed.config.attackers import Attacker, attacker_faults
from fedmed.config.buffer_faults import buffer_faults
from fedmed.config.cohort_faults import faults_beside
from fedmed.config.own_metrics import OwnMetrics
from fedmed.config.part import Part
from fedmed.config.privacy import Privacy
from fedmed.config.topology import Topology
from fedmed.config.written import BetweenKeys, Written

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Options = dict[str, Any]
MAX_PATCH_VOXELS = 512**3


class Partition(Part):
    """How the cases of one set become the cases of several sites."""

    by: Literal["natural", "iid", "dirichlet", "shards", "topology"] = "natural"
    """`natural`: the set's own site column or folders; the others split one set, seeded. `topology`: a site for each member
    that trains, its share of the set as that member's `cases` among all, its classes skewed by `alpha`."""
    sites: int = Field(4, ge=2, le=100_000)
    """Number of sites to make; unused by `natural` and `topology`, which have their own."""
    alpha: float = Field(0.5, gt=0, le=1e6)
    """Dirichlet concentration per class: small is skewed, large is even."""
    shards_per_site: int = Field(2, ge=1, le=1000)
    """Label shards dealt to each site (McMahan et al. 2017, section 3)."""
    seed: int | None = Field(None, ge=0)
    """Seed of the partition alone; the run's seed when absent."""


class Split(Part):
    """Shares of a site's patients held back where the set has no split of its own; one patient is never separated."""

    test: float = Field(0.2, ge=0, lt=1)
    validation: float = Field(0.1, ge=0, lt=1)
    seed: int | None = Field(None, ge=0)
    """Seed of the split alone; the run's seed when absent."""

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Split:
        if self.test + self.validation >= 1:
            raise ValueError(f"test + validation is {self.test + self.validation:g}; it must stay below 1")
        return self


class Data(Part):
    """Where the cases come from."""

    reader: Name
    """A reader by name: built in or from the entry-point group `fedmed.readers`; a wrong name is answered with them all."""
    folder: str = ""
    """Folder (or file) below `--data`; empty for a set that the reader makes itself."""
    options: Options = Field(default_factory=dict)
    """Settings of the reader; each reader checks its own."""
    partition: Partition = Partition()
    split: Split = Split()
    normalise: Literal["none", "site", "federated"] = "none"
    """`site`: each site by its own mean and standard deviation; `federated`: by those of all sites together, from sums."""


class Patches(Part):
    """Patches of images to train on, and windows of the same size to predict with; for segmentation."""

    size: tuple[int, ...] = Field(min_length=2, max_length=3)
    """Voxels of a patch: rows and columns of an image; slices, rows and columns of a volume."""
    per_case: int = Field(4, ge=1, le=100_000)
    """Patches of each case in one epoch."""
    foreground: float = Field(0.5, ge=0, le=1)
    """Share of the patches drawn around a voxel of a foreground class; the others lie anywhere."""
    overlap: float = Field(0.5, ge=0, le=0.95)
    """Share of a window's side that it has in common with the next one."""

    @model_validator(mode="after")
    def _sides_make_sense(self) -> Patches:
        if min(self.size) < 1 or math.prod(self.size) > MAX_PATCH_VOXELS:
            raise ValueError(f"size is {list(self.size)}; its sides must be positive, of {MAX_PATCH_VOXELS} voxels at most")
        return self


class Task(Part):
    """What is learned: one row of the task table, with what the scenario changes in it."""

    name: Name
    """A task by name: built in or from the entry-point group `fedmed.tasks`."""
    model: Name | None = None
    """Another model than the task's own."""
    model_options: Options = Field(default_factory=dict)
    """Keyword arguments of the model, such as `hidden: 256`."""
    class_weights: Literal["none", "balanced", "sqrt"] | None = None
    """Weights of the classes in the loss, from the federation's counts: 1, N/n or (N/n)^0.5; the task's own when absent."""
    augment: Name | None = None
    """Another augmentation than the task's own; `none` switches it off."""
    patches: Patches | None = None
    """Segmentation only: train on patches instead of whole images."""
    init: str | None = None
    """A safetensors file to start from instead of random weights."""
    frozen: tuple[str, ...] = ()
    """Names of tensors, `*` standing for any text, that no site trains or sends: they stay as they began."""
    local: tuple[str, ...] = ()
    """Names of tensors, likewise, that each site trains and keeps: FedBN (Li et al. 2021), where they are of norm layers."""


class Training(Part):
    """One site's work in one round."""

    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = Field(0.01, gt=0, le=100)
    momentum: float = Field(0.0, ge=0, lt=1)
    """SGD only."""
    weight_decay: float = Field(0.0, ge=0)
    l2: float = Field(0.0, ge=0)
    """Added to the loss as l2 * |w|^2 over weights, biases left out."""
    proximal_mu: float = Field(0.0, ge=0)
    """FedProx: adds mu/2 * |w - w_global|^2 (Li et al. 2020, algorithm 2)."""
    scaffold: bool = False
    """Corrects each step by how the site's gradients lie to all sites' (Karimireddy et al. 2020, algorithm 1, option II)."""
    ditto: float | None = Field(None, gt=0, le=1e6)
    """Each site also trains a model of its own, which it keeps: adds lambda/2 * |v - w_global|^2 to its loss (Ditto, Li
    et al. 2021, algorithm 1); this is lambda."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate over the rounds, from `learning_rate` towards 0."""
    batch_size: int = Field(32, ge=1, le=65_536)
    epochs: int | None = Field(None, ge=1, le=1000)
    """Passes over the site's cases a round; give this or `steps`."""
    steps: int | None = Field(None, ge=1, le=1_000_000)
    """Optimiser steps a round; give this or `epochs`."""
    precision: Literal["auto", "float32"] = "auto"
    """`auto`: mixed precision on CUDA, float32 elsewhere."""
    average_last: int = Field(1, ge=1, le=10_000)
    """The final model is the mean of the global models of this many last rounds."""
    metrics: OwnMetrics = Field(default_factory=dict)
    """Numbers of your own that a site's app answers with beside the loss: name and largest absolute value, such as
    `update_norm: 100`. Their means by cases are in each round's record; a site's number beyond its bound does not count."""

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> Training:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # `metrics` has no hash of its own


class Strategy(Part):
    """The server's rule: a Flower strategy by name, with that strategy's own arguments."""

    name: str = Field("fedavg", min_length=1, max_length=200)
    """A name of the table (`fedavg`, `fedavgm`, `fedadam`, `fedyogi`, `fedadagrad`, `fedmedian`, ...), an entry point of
    the group `fedmed.strategies`, or `module:Class` of your own Flower Strategy."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of the strategy's constructor."""


class Quorum(Part):
    """What must answer before a round may close; every missing site is named in the result."""

    sites: float = Field(0.5, gt=0, le=1)
    """Share of the round's cohort, counted by site."""
    data_weight: float = Field(0.5, gt=0, le=1)
    """Share of the cohort's training cases: a large slow site cannot be left behind unseen."""
    required: tuple[str, ...] = ()
    """Sites without which no round closes."""


LONGEST_S = 600.0
"""Until a site must have answered where the scenario names no time and none is measured."""


class Buffer(Part):
    """Rounds that no slow site holds up (FedBuff, Nguyen et al. 2022): a new model is made as soon as so many updates are
    there, whichever model each began with, and who is not in it trains on. Needs `privacy.secure_aggregation: off`."""

    size: int = Field(ge=1, le=100_000)
    """Updates that a new model is made of (the paper's K)."""
    concurrent: int | None = Field(None, ge=1, le=100_000)
    """Sites that train at once, at most; places are filled when a model is made. All sites when absent."""
    discount: float = Field(0.5, ge=0, le=10)
    """An update to a model that s new ones have followed is multiplied by (1 + s)^-discount; 0 takes all alike."""


class Rounds(Part):
    """The rules of a round."""

    deadline_s: float | None = Field(None, gt=0, le=30 * 86_400)
    """Seconds that every site has to answer. Measured for each site where absent; in a simulation `LONGEST_S`."""
    quorum: Quorum = Quorum()
    attempts: int = Field(2, ge=1, le=100)
    """How often a round that misses its quorum is tried before the run stops (its last commit stays)."""
    max_update_norm: float | None = Field(None, gt=0)
    """Refuse an update whose L2 distance to the global model is larger; off when absent."""
    late: Literal["add", "drop"] = "add"
    """An update that came too late for its round: `add` it to a later one, or `drop` it. A masked one, which nobody opens,
    its site adds to its next; others the center adds, the older the less. Under differential privacy all are dropped, and
    with a `buffer` those that came after their site's own deadline."""
    buffer: Buffer | None = None
    """Without it every round waits for all of its sites. With it `quorum.sites` is the share of `buffer.size` that has to be
    there once every site that trains has had its time; `quorum.data_weight` and `quorum.required` do not apply."""
    gate: Literal["refuse", "warn", "off"] = "refuse"
    """Before round one, sites with images are compared by pipeline and by statistics of their images. `refuse`: do not
    start with a site that prepares its images otherwise or whose images lie otherwise; `warn`: start, and name it; `off`:
    ask no site for statistics."""

    @property
    def longest_s(self) -> float:
        """Seconds that every site has to answer where nothing is measured."""
        return LONGEST_S if self.deadline_s is None else self.deadline_s


class Evaluation(Part):
    """What is measured."""

    every: int = Field(1, ge=1)
    """Validate the global model at the sites every so many rounds (and after the last)."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Decision threshold of binary tasks."""
    pooled_test_normalisation: Literal["site", "pooled"] = "site"
    """Under `data.normalise: site`, how the pooled test set is scaled: by its sites, or (as published for heart) pooled."""
    baselines: bool = True
    """Train each site's own model and the pooled model to compare with."""
    choose: Literal["last", "best"] = "last"
    """Which global model the run ends with. `best`: that of the round with the highest AUC, or Dice of a segmentation, in
    the federation's own validation, the earliest of equals; rounds that were not validated do not count (see `every`)."""


class Engine(Part):
    """Where the sites run."""

    name: Literal["inprocess", "ray", "crowd"] = "inprocess"
    """`crowd`: many small sites, without a message and a process of each one's own; without masks, deadlines and faults."""
    workers: int | None = Field(None, ge=0, le=1024)
    """Site processes, one thread each; 0 runs the sites in the caller (no deadline then); all cores when absent."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    fast: bool = True
    """Of a crowd: linear models in closed form where that is checked to hold; false trains every site by the usual loop."""


class Scenario(Part):
    """One federation, whole."""

    name: Name
    title: str = Field(max_length=200)
    description: str = Field("", max_length=4000)
    source: str = Field("", max_length=2000)
    """Where the data set is published and what its folder must hold; shown when the data is missing."""
    purpose: Name = "research"
    """What the model is for, in one word; a clinic's data set takes part only where it was released for that purpose."""
    seed: int = Field(42, ge=0, le=2**63 - 1)
    rounds: int = Field(ge=1, le=100_000)
    data: Data
    task: Task
    training: Training
    strategy: Strategy = Strategy()
    federation: Rounds = Rounds()
    privacy: Privacy = Privacy()
    evaluation: Evaluation = Evaluation()
    engine: Engine = Engine()
    topology: Topology | None = None
    """Where everybody is: with it the run is in virtual time, with the lines, machines and faults that it states."""
    attackers: tuple[Attacker, ...] = Field((), max_length=1000)
    """Sites that attack, in a simulation alone; a center offers and a clinic runs no scenario that has any."""

    @model_validator(mode="after")
    def _one_rule_makes_the_final_model(self) -> Scenario:
        if self.evaluation.choose == "best" and self.training.average_last > 1:
            raise ValueError(
                f"evaluation.choose is best and training.average_last {self.training.average_last}: the final model is one "
                "round's or a mean of several; allowed: choose last, or average_last 1"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_opened_without_noise(self) -> Scenario:
        if faults := list(private_scenarios.faults(self)):
            raise ValueError("privacy.differential_privacy: " + "; ".join(faults))
        return self

    @model_validator(mode="after")
    def _what_sites_keep_fits_the_rest(self) -> Scenario:
        if faults := list(kept_scenarios.faults(self)):
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def _a_crowd_has_what_it_needs(self) -> Scenario:
        if faults := list(crowd_scenarios.faults(self)):
            raise ValueError("engine.name is crowd: " + "; ".join(faults))
        return self

    @model_validator(mode="after")
    def _a_buffer_fits_the_rest(self) -> Scenario:
        if self.federation.buffer is not None and (faults := list(buffer_faults(self.model_dump(mode="json")))):
            raise BetweenKeys(faults)
        return self

    @model_validator(mode="after")
    def _who_is_there_fits_the_rest(self) -> Scenario:
        concerns = self.topology is not None or self.data.partition.by == "topology"
        if concerns and (faults := list(faults_beside(self.model_dump(mode="json")))):
            raise BetweenKeys(faults)
        return self

    @model_validator(mode="after")
    def _attackers_can_attack(self) -> Scenario:
        if self.attackers and (faults := list(attacker_faults(Written(self.model_dump(mode="json"))))):
            raise BetweenKeys(faults)
        return self
