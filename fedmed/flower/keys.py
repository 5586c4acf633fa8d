"""Names inside the records of our messages; WEIGHT_KEY is the one that Flower's strategies expect."""

CONFIG_KEY = "fedmed.order"
WEIGHT_KEY = "num-examples"

PROTOCOL, MEMBER, DESCRIBE, CENSUS = "query.protocol", "query.member", "query.describe", "query.census"
"""Kinds of messages beside Flower's own `train` and `evaluate`."""
ROUND, HEADER, LAYOUT = "fedmed.round", "header", "layout"
"""The record that makes a message part of a masked round, and what is in it."""
SEALED, ENVELOPE, VECTOR = "fedmed.sealed", "envelope", "vector"
"""The record that an answer of such a round carries, what is in it, and the one array beside it."""
SAID, BYTES = "fedmed.said", "bytes"
"""A message of secure aggregation itself."""
WORLD, JOINED = "fedmed.world", "joined"
"""What virtual time tells a process of a message beside what the center says, which nothing in that process but its owner
sees: the devices below the node whose updates are there in time."""
