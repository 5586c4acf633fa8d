"""How images come into a device beside C-STORE: a watched folder and STOW-RS; one fsync for those that come at once."""
