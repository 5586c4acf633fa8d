"""What a clinic's model changed by in a round under differential privacy, whatever the mode; and nothing beside it."""

from __future__ import annotations

import numpy as np

from fedmed.errors import DataError
from fedmed.learning import weights
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import Order
from fedmed.learning.private_training import Seeds, descent, train_privately
from fedmed.learning.training import train
from fedmed.sites.cases import patient_rows
from fedmed.wire.tensors import Tensors


def changes(clinic: Clinic, order: Order, tensors: Tensors, patients: float, seeds: Seeds) -> Tensors:
    """Changes of the weights `tensors` that are not frozen, for `Terms.clipped`; in mode record-local they have their noise.

    `patients`: of this site, as it declared in public. Raises DataError without training cases, ValueError for an order that
    says nothing of privacy.
    """
    if order.privacy is None:
        raise ValueError("the order says nothing of privacy")
    data, cases = clinic.inputs(order.preparation).train, clinic.site.train
    if len(cases) == 0:
        raise DataError(f"site {clinic.site.name} has no training cases")
    model = weights.loaded(order.model, tensors)
    match order.privacy.mode:
        case "record-distributed":
            return descent(model, data, patient_rows(cases), order, seeds)
        case "record-local":
            train_privately(model, data, patient_rows(cases), order, patients, seeds)
        case "clinic":
            train(model, data, order, clinic.site.name)  # its loss is told to nobody
    frozen = weights.frozen_in(model, order.frozen)
    ends = {name: value for name, value in weights.read(model).items() if value.dtype.kind == "f" and name not in frozen}
    return {name: np.subtract(value, tensors[name]) for name, value in ends.items()}
