"""The registry of committed global models: signed, sealed at rest, a few of each run kept, copied elsewhere."""
