"""A package, so that the folder of this name that Opacus installs cannot stand in for it."""
