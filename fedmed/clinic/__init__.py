"""The clinic's daemon: what it runs, and what it keeps."""
