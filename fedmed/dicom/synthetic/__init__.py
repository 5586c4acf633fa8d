"""Synthetic radiographs and CT, the traps that readers fall into, and lesions planted in real series. Nobody is pictured."""
