"""Flower's state with a store of objects of ours, in memory or on the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.server.superlink.linkstate import LinkState, SqlLinkState
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.state.schema.linkstate_models import MessageIns, MessageRes
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
from sqlalchemy import event, select
from sqlalchemy.exc import SQLAlchemyError

from fedmed.errors import FederationError, StoreError
from fedmed.flower.objects import FileStore, MemoryStore, Objects
from fedmed.flower.resting import AtRest


def opened(database: Path | None, rest: AtRest) -> tuple[LinkState, Objects]:
    """The state, and the store of its objects; what a killed process had begun to keep for no message goes."""
    name = FLWR_IN_MEMORY_DB_NAME if database is None else str(database)
    objects, states = get_objectstore_linkstate_factories(name, get_federation_manager())
    if database is None:
        objects.store_instance = memory = MemoryStore()
        return states.state(), memory
    objects.store_instance = store = FileStore(database.with_name(f"{database.name}-objects"), rest)
    state = states.state()
    if not isinstance(state, SqlLinkState) or state._engine is None:
        raise FederationError(f"{database} is opened by another kind of state than SQLite's; Flower has moved")
    event.listen(state._engine, "connect", _synced)
    state._engine.dispose()  # connections that were opened before
    with state.session() as session:
        known = set(session.scalars(select(MessageIns.message_id))) | set(session.scalars(select(MessageRes.message_id)))
    store.delete_all(store.roots() - known)
    return state, store


def _synced(connection: Any, _: object) -> None:
    """Flower takes its chance with a power cut; what a node was told here has to be true after one."""
    connection.execute("PRAGMA synchronous = FULL")


@contextmanager
def disk_needed() -> Iterator[None]:
    """What is done within writes the state: a disk that is full or broken has one name then. Raises StoreError."""
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        why = str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error)
        raise StoreError(
            f"the center's disk cannot be written or read ({why}); nothing is lost, and all goes on by itself "
            "once its staff have made room or mended it"
        ) from error
