"""How images come into a device beside C-STORE: a watched folder and STOW-RS."""
