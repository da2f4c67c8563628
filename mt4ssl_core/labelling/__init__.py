"""Offline labels and features: k-means of frames, and hidden states written to disk.

In: audio, and an encoder for hidden layers. Out: k-means files, .tsv and .km lists, features.
"""
