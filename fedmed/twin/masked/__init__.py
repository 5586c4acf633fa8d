"""Real masks of many simulated clinics in one process: both sides of the protocol, without a process or a disk for each."""
