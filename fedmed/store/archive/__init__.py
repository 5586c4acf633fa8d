"""The clinic's archive of studies: packed, sealed with a key of its own, each study here or there, never nowhere."""
