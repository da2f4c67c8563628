"""Which checkpoint to use, and which of its layers.

In: runs or checkpoints; audio, or labelled speech. Out: a ranking with its reasons, and a plot.
"""
