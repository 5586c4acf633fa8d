"""The way from the researcher's app to the wire, all of it at the clinic: policy, clip and noise, mask, ledger."""
