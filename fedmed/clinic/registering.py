"""From files on the clinic's disk to a registered data set, and from that to the folder that a run's app reads.

Read by the readers and the split of `fedmed simulate`, so that a run trains on what a simulation of its scenario trains on.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fedmed.config.dataset import Counts, DataSet
from fedmed.errors import ConfigError, NotApproved, StoreError
from fedmed.outbound.description import Sizes
from fedmed.sites import prepared
from fedmed.sites.cases import SPLITS, SetAside, Site, unit_of
from fedmed.sites.own import Source, site_of

_STORED = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Found:
    """A data set as it was read."""

    dataset: DataSet
    site: Site
    set_aside: tuple[SetAside, ...]
    """What cannot be trusted and was left out."""
    sites: tuple[str, ...]
    """All sites that the files name."""


def register(name: str, source: Source, member: str, scratch: Path, now: float) -> Found:
    """Read and digest a data set; `scratch` is a folder that is made, holds the prepared cases for a moment, and goes.

    Raises ConfigError and DataError as the readers do, and where the files hold several sites and none is chosen.
    """
    site, sites = site_of(source, member)
    try:
        prepared.lay_out([site], scratch)
        digest = prepared.open_site(scratch, 0).version
    except OSError as error:
        raise StoreError(f"{scratch}: the cases cannot be laid out ({error.strerror}); make room, then try again") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    own = source.site or member
    aside = tuple(each for where, each in site.train.set_aside if where in ("", own) or len(sites) <= 1)
    return Found(_facts(name, source, site, digest, now), site, aside, sites)


def lay_out(dataset: DataSet, member: str, target: Path, group: int | None = None) -> None:
    """Lay the cases out in `target`, anew, as the one site `member`, and nothing else beside them.

    Only this user may read them or, where `group` is given, that group as well: the app's own. Raises NotApproved where the
    content is other than what was registered, and then leaves nothing; ConfigError and DataError as the readers do.
    """
    source = Source(dataset.reader, dataset.folder, dataset.options, dataset.site, dataset.split, dataset.seed)
    site, _ = site_of(source, member)
    try:
        prepared.lay_out([site], target)
        if prepared.open_site(target, 0).version != dataset.digest:
            shutil.rmtree(target)
            raise NotApproved(
                "this site's data is not what was released; ask its staff",
                f"data set {dataset.name}: the files in {dataset.folder} are others than those released. Look at them, then "
                f"say: fedmed clinic data renew {dataset.name}",
            )
        _hand_over(target, group)
    except OSError as error:
        raise StoreError(f"{target}: the cases cannot be laid out ({error.strerror}); make room, then try again") from error


def _facts(name: str, source: Source, site: Site, digest: str, now: float) -> DataSet:
    train, sizes = site.train, {part: len(getattr(site, part)) for part in SPLITS}
    told = Sizes.of(sizes["train"], sizes["validation"])
    if str(train.x.dtype) not in _STORED:
        raise ConfigError(f"the cases are of type {train.x.dtype}; allowed are {', '.join(_STORED)}")
    return DataSet.model_validate(
        {
            **{key: getattr(source, key) for key in ("reader", "folder", "options", "site", "split", "seed")},
            **{key: getattr(train, key) for key in ("classes", "spatial", "features")},
            "name": name,
            "shape": tuple(train.x.shape[1:]),
            "stored": str(train.x.dtype),
            "masks": train.has_masks,
            "unit": unit_of(train),
            "cases": Counts(**sizes),
            "declared": (told.training, told.validation),
            "digest": digest,
            "registered": int(now),
        }
    )


def _hand_over(folder: Path, group: int | None) -> None:
    for path in (folder, *folder.iterdir()):
        if group is not None:
            os.chown(path, -1, group)
        if path.is_dir():
            path.chmod(0o750 if group is not None else 0o700)
        else:
            path.chmod(0o440 if group is not None else 0o400)
