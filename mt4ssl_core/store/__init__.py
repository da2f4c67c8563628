"""Features of frozen encoders, kept on disk under what they depend on.

In: features with the key of their waveform. Out: the same features, whole, or nothing.
Knows of no task and no encoder.
"""
