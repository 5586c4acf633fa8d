"""A clinic's service for its own devices: gRPC over mutual TLS 1.3 under a root of its own."""
