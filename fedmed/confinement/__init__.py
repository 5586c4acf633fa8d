"""What an approved app may touch at a clinic: described as plain values, and carried out by Linux. Standard library alone.

It is imported before numpy, torch or an app are, in a process of one thread.
"""
