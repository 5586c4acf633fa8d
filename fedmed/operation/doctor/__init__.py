"""What the doctors of all roles share: checks with a limit each, findings, and probes of the line and of the machine."""
