"""Checkpoints of any origin, and what tells one from another.

In: files and folders of ours, fairseq and Hugging Face, none of which is trusted. Out: checked
weights and settings under our names, and exports.
"""
