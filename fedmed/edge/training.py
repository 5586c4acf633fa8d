"""A device that trains along in its clinic's rounds, on cases of its own: the full install, PyTorch included."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmed.config.edge import Training
from fedmed.config.privacy import BOUNDS
from fedmed.edge.folder import EdgeFolder
from fedmed.errors import ConfigError, MissingPart
from fedmed.hub.client import HubClient
from fedmed.hub.training import Trainee
from fedmed.store.keysource import keystore_at
from fedmed.tiers.taking_part import Own, Train
from fedmed.wire.tensors import Tensors

KEYSTORE = "keystore"


def trainee_of(folder: EdgeFolder, client: HubClient, say: Callable[[str], None]) -> Trainee | None:
    """The device's part in rounds; None where its file says that it trains on nothing.

    Raises ConfigError and DataError for the cases, MissingPart without PyTorch, KeyRefused, StoreError.
    """
    wanted = folder.config.training
    if wanted is None:
        return None
    train, cases = _trainer(wanted, folder.path)

    def own(fellows: Callable[[], int]) -> Own:
        return Own(fellows, cases, BOUNDS[32])

    keystore = keystore_at(folder.path / KEYSTORE, folder.key_source(), folder.clock, allow_same_mount=True)
    return Trainee(client, wanted.federation, train, own, keystore, secrets.token_bytes, say)


def _trainer(wanted: Training, root: Path) -> tuple[Train, int]:
    """What trains, and on how many cases."""
    try:
        from fedmed.learning.clinic import Clinic
        from fedmed.learning.order import Order
        from fedmed.sites.prepare import sites_of
    except ImportError as error:
        raise MissingPart("training needs PyTorch; install fedmed[fl], or set training: null in edge.yaml") from error
    found = {site.name: site for site in sites_of(wanted.data, root, wanted.seed, "edge.yaml")}
    if (wanted.site is None and len(found) != 1) or (wanted.site is not None and wanted.site not in found):
        raise ConfigError(f"training.site is {wanted.site!r}, and the files hold {', '.join(found)}; name one of them")
    clinic = Clinic(found[wanted.site or next(iter(found))])

    def train(order: str, model: Tensors) -> tuple[Tensors, Mapping[str, Any]]:
        return clinic.train(Order.model_validate_json(order), model)

    return train, len(clinic.site.train)
