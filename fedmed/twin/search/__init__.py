"""Random faults, by seed, around the code that runs in hospitals: a search for what must never happen."""
