"""Names inside the records of our messages; the last two are those that Flower's strategies expect."""

CONFIG_KEY = "fedmed.order"
WEIGHT_KEY = "num-examples"
