"""Audio and labels: from files to batches.

In: a folder, a list or a CutSet, and labels in a .km file. Out: batches of padded waveforms, their
lengths, labels and hidden frames. Every file that cannot be used is named.
"""
