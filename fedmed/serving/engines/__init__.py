"""What computes a model's logits, one file a back end; `table` says which there are and which can run here."""
