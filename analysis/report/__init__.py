"""One HTML page about a run: scores, layers, probes, convergence.

In: the folder of a run. Out: a page that needs no other file and no network.
"""
