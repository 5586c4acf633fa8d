"""Tasks, models, local training, metrics and the models to compare with."""
