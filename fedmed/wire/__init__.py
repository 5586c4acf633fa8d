"""What travels and what is stored: tensors in the safetensors format, digests, canonical JSON."""
