"""Differential privacy: noise from a cryptographic generator, one honest epsilon, budgets that are never overspent."""
