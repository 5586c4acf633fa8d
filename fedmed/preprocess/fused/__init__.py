"""One pass from stored voxels to a tensor, and training's augmentations: one definition in NumPy, three back ends."""
