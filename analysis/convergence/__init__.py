"""How fast pre-training runs learn, compared.

In: folders of runs. Out: curves, scores of checkpoints, updates to reach a score.
"""
