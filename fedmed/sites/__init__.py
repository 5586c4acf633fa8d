"""A site's cases: readers, manifests, partitioners and splits that never separate a patient."""

from fedmed.sites.cases import SPLITS, Cases, Site, pool
from fedmed.sites.prepare import sites_of
from fedmed.sites.readers import READERS, Reader, reader_names

__all__ = ["READERS", "SPLITS", "Cases", "Reader", "Site", "pool", "reader_names", "sites_of"]
