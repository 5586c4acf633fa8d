"""A device that trains along in its clinic's rounds, on cases of its own: the full install, PyTorch included."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmed.config.edge import Training
from fedmed.config.privacy import BOUNDS
from fedmed.edge.folder import EdgeFolder
from fedmed.errors import MissingPart
from fedmed.hub.client import HubClient
from fedmed.hub.training import Trainee
from fedmed.sites.own import MADE, Source, site_of
from fedmed.store.keysource import keystore_at
from fedmed.tiers.taking_part import Own, Train
from fedmed.wire.tensors import Tensors

KEYSTORE = "keystore"


def trainee_of(folder: EdgeFolder, wanted: Training, client: HubClient, say: Callable[[str], None]) -> Trainee:
    """The device's part in rounds.

    Raises ConfigError and DataError for the cases, MissingPart without PyTorch, KeyRefused, StoreError.
    """
    train, cases = _trainer(wanted, folder.path, folder.config.name)

    def own(fellows: Callable[[], int]) -> Own:
        return Own(fellows, cases, BOUNDS[32])

    keystore = keystore_at(folder.path / KEYSTORE, folder.key_source(), folder.clock, allow_same_mount=True)
    return Trainee(client, wanted.federation, train, own, keystore, secrets.token_bytes, say)


def _trainer(wanted: Training, root: Path, name: str) -> tuple[Train, int]:
    """What trains, and on how many cases."""
    try:
        from fedmed.learning.clinic import Clinic
        from fedmed.learning.order import Order
    except ImportError as error:
        raise MissingPart("training needs PyTorch; install fedmed[fl], or set training: null in edge.yaml") from error
    place = wanted.folder if wanted.folder == MADE else str(root / wanted.folder)
    source = Source(wanted.reader, place, wanted.options, wanted.site, wanted.split, wanted.seed)
    site, _ = site_of(source, name)
    clinic = Clinic(site)

    def train(order: str, model: Tensors) -> tuple[Tensors, Mapping[str, Any]]:
        return clinic.train(Order.model_validate_json(order), model)

    return train, len(site.train)
