"""The device's agent beside the scanner: receives, prepares, infers, keeps and forwards; a pure machine in a thin shell."""
