"""The order that travels from the center to the sites as JSON: all that a site needs to know of a round."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedmed.config.scenario import Patches, Training

MAX_ORDER_BYTES = 4_000_000
MOST_BINS = 1 << 16
KindName = Literal["classification", "segmentation"]
Sizes = Annotated[tuple[int, ...], Field(min_length=1, max_length=4)]


class ModelSpec(BaseModel):
    """Which model, for which inputs; equal specs make interchangeable models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}
    inputs: Sizes
    """Shape of what the network sees, without the batch: a case, or a patch of it `(C, [D,] H, W)`."""
    classes: int = Field(ge=2, le=10_000)
    kind: KindName = "classification"

    @property
    def outputs(self) -> int:
        """Logits of the model: one for two classes, else one a class."""
        return 1 if self.classes == 2 else self.classes


class Preparation(BaseModel):
    """How raw cases become inputs: features, then standardisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: str = "plain"
    normalise: str = "none"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    """Of the federation, under `normalise: federated`."""
    clip: float | None = None


class Inquiry(Preparation):
    """What the center asks before the first round: to be described under this preparation."""

    fingerprint: bool = False
    """Whether what a site's images are like is asked as well."""
    purpose: str = ""
    """Which run it is for, in words for the site's ledger."""
    masked: bool = False
    """Whether the site tells declared sizes instead of counts, and no sums; they follow in a masked census."""


class PrivateWork(BaseModel):
    """What differential privacy asks of a site's training; see `fedmed.config.privacy.DifferentialPrivacy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["record-local", "record-distributed", "clinic"]
    clip: float = Field(gt=0)
    """L2 norm of a patient's gradient, or in mode `clinic` of the update."""
    noise_multiplier: float = Field(gt=0)
    rate: float = Field(1.0, gt=0, le=1)
    """Probability that a patient takes part in a step."""
    patients: float = Field(1.0, gt=0)
    """Of a site on average, as declared: a step's sum is divided by it times `rate`. Mode record-distributed."""
    most_patients: float = Field(1.0, gt=0)
    """Of the largest site, as declared."""


class Order(BaseModel):
    """One round's work: what to train or evaluate, on what, how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int
    seed: int
    model: ModelSpec
    preparation: Preparation
    training: Training
    learning_rate: float
    """Of this round, after the schedule."""
    augment: str = "none"
    class_weights: tuple[float, ...]
    device: str = "auto"
    patches: Patches | None = None
    threshold: float = 0.5
    """Of binary tasks; decides masks in validation."""
    bins: int | None = Field(None, ge=2, le=MOST_BINS)
    """Where the center learns sums only: an evaluation fills histograms of so many bins, a power of two."""
    frozen: tuple[str, ...] = ()
    """Names of tensors, `*` standing for any text, that training leaves as they are."""
    local: tuple[str, ...] = ()
    """Names of tensors, likewise, that the site trains and keeps."""
    privacy: PrivateWork | None = None
    """Training under differential privacy; None where there is none."""


def text_of(said: Order | Inquiry) -> str:
    """What travels: without what has its default, so that an older clinic reads all but what is new and used."""
    return said.model_dump_json(exclude_defaults=True)


def parse(text: str) -> Order:
    """The order in a message. Raises ValueError where it is too large or not one."""
    if len(text) > MAX_ORDER_BYTES:
        raise ValueError(f"the order has {len(text)} characters; allowed are {MAX_ORDER_BYTES}")
    return Order.model_validate_json(text)
