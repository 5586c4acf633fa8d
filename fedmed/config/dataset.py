"""`datasets/NAME.yaml`: a clinic's data set as its staff registered it, and what it is released for.

Written by `fedmed clinic data` alone, with a digest over all of it: a file changed by hand is refused by name.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fedmed.config.part import Part
from fedmed.config.scenario import Name, Options, Split

HEX = r"^[0-9a-f]{64}$"


class Release(Part):
    """The staff's word that the data set may be used for a purpose."""

    purpose: Name
    run: Name | None
    """The one run that it is for; any run of the purpose where null."""
    until: int | None
    """Seconds since 1970 at which it ends by itself; null for no end."""
    digest: str = Field(pattern=HEX)
    """Of the content that was released: other content is not."""
    unix: int
    by: str


class Withdrawal(Part):
    """The staff's word that the data set is used no more."""

    unix: int
    by: str
    reason: str = Field(max_length=500)


class Counts(Part):
    """Cases in each part."""

    train: int = Field(ge=1)
    validation: int = Field(ge=0)
    test: int = Field(ge=0)


class DataSet(Part):
    """One data set of one clinic."""

    name: Name
    """What it is called here."""
    reader: Name
    """How its files are read, as in a scenario's data.reader."""
    folder: str = Field(min_length=1)
    """Where its files are on this machine; empty is not allowed, `-` stands for a set that the reader makes itself."""
    options: Options
    """Settings of the reader, as in a scenario's data.options."""
    site: str | None
    """The one site of a published set that holds several; null where the set is one clinic's."""
    split: Split
    """How cases are held back, as in a scenario's data.split."""
    seed: int = Field(ge=0, le=2**63 - 1)
    """Seed of the split where it has none of its own, as a scenario's seed."""
    classes: tuple[str, ...] = Field(min_length=2)
    """Names of the classes, in the order of their index."""
    shape: tuple[int, ...] = Field(min_length=1, max_length=4)
    """Shape of one case as it is read."""
    stored: Literal["uint8", "uint16", "float32"]
    """Type of a case's values."""
    spatial: Literal[2, 3]
    """How many of the last axes are space."""
    masks: bool
    """Whether every voxel has a class."""
    features: tuple[str, ...]
    """Names of columns, of tabular cases."""
    unit: Literal["patient", "record"]
    """Whom differential privacy can be kept for: whose the cases are, where the set says it."""
    cases: Counts
    """Exact counts, which stay in this file."""
    declared: tuple[int, int]
    """Sizes of training and validation as the center and others may know them, rounded up to 1, 2, 5, 10, 20 ..."""
    digest: str = Field(pattern=HEX)
    """Of the prepared cases."""
    registered: int
    """When it was read, in seconds since 1970."""
    releases: tuple[Release, ...] = Field((), max_length=1000)
    """What it may be used for."""
    withdrawn: Withdrawal | None = None
    """Since when it may not be used at all."""

    def described(self) -> dict[str, Any]:
        """All that an approval binds: the content, and how it is read; not what it is released for, which may change."""
        return self.model_dump(mode="json", exclude={"releases", "withdrawn", "registered"}, exclude_unset=True)
