"""Distances of frames that ABX knows; without torch, for the command line."""

DISTANCES = ("angular", "cosine")  # of frames at the angle a: a / pi and 1 - cos a
