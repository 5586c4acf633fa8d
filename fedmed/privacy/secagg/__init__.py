"""fedmed-secagg v1: the center learns one weighted sum over enough clinics, and nothing else."""
