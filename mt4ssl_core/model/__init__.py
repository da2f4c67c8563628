"""The encoder, the targets it learns from, and its optimiser.

In: batches of waveforms, hidden frames and labels. Out: hidden states, losses, updated weights.
Knows of no file and no corpus.
"""
