"""Which task runs where: classes, needs, priorities, quotas, and what happens when a node dies. Pure."""
