"""A whole federation on one machine: prepare sites, run an engine, compare, report."""
