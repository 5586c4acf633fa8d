"""The center's service: what listens on its one port, and what it keeps."""
