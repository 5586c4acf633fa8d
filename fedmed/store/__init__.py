"""What must survive: commits of a run, written atomically and read back only when every byte is right."""
