"""Objects made for the tests of de-identification: a small CT with everything planted that may identify somebody."""

from __future__ import annotations

import warnings
from io import BytesIO

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fedmed.dicom.deid.folder import encoded
from fedmed.dicom.deid.pseudonyms import Pseudonyms

KEYS = Pseudonyms(b"u" * 32, b"i" * 32, b"d" * 32)
OTHER_KEYS = Pseudonyms(b"U" * 32, b"I" * 32, b"D" * 32)


def small_ct(**values: object) -> pydicom.FileDataset:
    """A CT slice of 128 x 128 that comes with pydicom, read anew, with other values of some attributes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return dataset


def item(**values: object) -> Dataset:
    """A sequence's item."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def put(dataset: Dataset, tag: int, vr: str, value: object) -> None:
    """Sets an element whatever pydicom thinks of its value."""
    dataset[tag] = DataElement(tag, vr, value, validation_mode=pydicom.config.IGNORE)


def nested(inside: Dataset) -> Sequence:
    """A Request Attributes Sequence with `inside` two levels below it; both levels are descended into."""
    return Sequence([item(ScheduledProtocolCodeSequence=Sequence([inside]))])


def reread(dataset: Dataset) -> pydicom.FileDataset:
    """The object written to bytes and read again, as it would come from a file."""
    return pydicom.dcmread(BytesIO(to_bytes(dataset)))


def to_bytes(dataset: Dataset) -> bytes:
    """The object as a file's bytes."""
    return encoded(dataset)
