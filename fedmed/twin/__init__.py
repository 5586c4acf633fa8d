"""A federation in virtual time: the code that runs in hospitals, on machines and lines that a scenario states."""
