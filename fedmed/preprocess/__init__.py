"""Images on one grid and features on one scale: pure NumPy, the definition that faster back ends must equal."""
