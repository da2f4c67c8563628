"""The parts of fairseq that s3prl's speech translation imports, in plain PyTorch.

s3prl leaves the head of this task (a speech-to-text transformer), its loss, batching and beam
search to fairseq, which cannot be installed on today's Python. These modules behave as fairseq
0.12 does in everything that changes a number; parameters have its names. What SUPERB does not use
is not here, and asking for it is an error. `upstream.compat.fairseq_names` puts them where s3prl
looks for them.
"""
