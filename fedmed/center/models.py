"""The center's registry of models: its keys, its folder, and the copier of it, as center.yaml says.

models.key      the key that models are signed with, for that alone; models.json the center's word for its public half
models.secret   the key that they are sealed with, unless center.yaml names another; keep a copy of it elsewhere
models/         the registry
"""

from __future__ import annotations

from collections.abc import Callable

from fedmed.center.folder import CenterFolder
from fedmed.errors import ConfigError
from fedmed.flower.resting import IN_CLEAR, AtRest
from fedmed.identity import files
from fedmed.identity.modelkey import ModelKey, certify, read_certified
from fedmed.privacy import keys
from fedmed.privacy.atrest import AtRest as Closing
from fedmed.store.blobs import Store
from fedmed.store.keysource import key_from
from fedmed.store.models.copying import Copier
from fedmed.store.models.cover import Bare, Cover, Sealed
from fedmed.store.models.registry import Registry
from fedmed.store.models.retention import Retention
from fedmed.store.models.shelf import Shelf
from fedmed.store.places import store_at

KEY_FILE, CERTIFIED_FILE, SECRET_FILE, FOLDER = "models.key", "models.json", "models.secret", "models"
_LABEL = "registry of models"


def open_registry(folder: CenterFolder) -> Registry:
    """The registry, its keys made where there are none. Raises KeyRefused, ModelAltered, StoreError."""
    said = folder.config.models
    retention = Retention(said.last, said.best, said.rounds, said.minutes)
    at = folder.path / FOLDER
    return Registry(at, cover_of(folder), signing_key(folder), folder.clock, folder.config.federation, retention)


def open_copy(folder: CenterFolder) -> Shelf:
    """The copy, to be read. Raises ConfigError where center.yaml names none, MissingPart, StoreError."""
    store = copy_store(folder)
    if store is None:
        raise ConfigError(f"{folder.path / 'center.yaml'}: models.copy_to names no second place; write one there")
    return Shelf(store, cover_of(folder), signing_key(folder).public)


def copier(folder: CenterFolder, registry: Registry, said: Callable[[str], None]) -> Copier | None:
    """What copies the registry in the background; None where center.yaml names no place. Raises MissingPart, StoreError."""
    store = copy_store(folder)
    return None if store is None else Copier(registry, store, folder.clock, said)


def signing_key(folder: CenterFolder) -> ModelKey:
    """The key for models, made and certified where there is none. Raises KeyRefused, ProtocolRefused."""
    path, certified = folder.path / KEY_FILE, folder.path / CERTIFIED_FILE
    if not path.exists():
        if certified.exists():
            raise files.KeyRefused(f"{path}: the key for models is gone, and {certified.name} tells of it; put a copy back")
        ModelKey.generate().save(path)
    key, center = ModelKey.load(path), folder.keys()
    if not certified.exists():
        files.replace(certified, certify(center, key.public))
    if read_certified(certified.read_bytes(), center.signing_public, str(certified)) != key.public:
        raise files.KeyRefused(f"{certified}: is of another key than {path}; put copies of both back")
    return key


def cover_of(folder: CenterFolder) -> Cover:
    """How models are sealed. Raises KeyRefused, StoreError for the key."""
    return Sealed(keys.derived(_secret(folder), _LABEL)) if folder.config.models.sealed else Bare()


def rest_of(folder: CenterFolder) -> AtRest:
    """How messages on their way lie on the disk: as models do, for models are in them. Raises KeyRefused, StoreError."""
    return Closing(_secret(folder), "messages on their way") if folder.config.models.sealed else IN_CLEAR


def _secret(folder: CenterFolder) -> bytes:
    path, source = folder.path / SECRET_FILE, folder.config.models.key
    if source is not None:
        return key_from(source)
    if not path.exists():
        if (folder.path / FOLDER).exists():
            raise files.KeyRefused(f"{path}: the key that models are sealed with is gone; put a copy of it back")
        keys.create(path)
    return keys.read(path).secret


def copy_store(folder: CenterFolder) -> Store | None:
    """The second place."""
    said = folder.config.models
    if said.copy_to is None:
        return None
    return store_at(said.copy_to, said)
