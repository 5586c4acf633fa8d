"""A site's cases: readers, manifests, partitioners and splits that never separate a patient."""
