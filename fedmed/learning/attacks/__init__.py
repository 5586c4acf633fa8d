"""Attacks of a simulation's sites on their federation, one file each; no clinic of a real federation loads them."""
