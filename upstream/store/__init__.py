"""Features of a frozen upstream for one task: whether they are stored, and how they are read.

In: what is asked of the store, a task and an upstream. Out: features in the place of the
upstream, and what results say of them.
"""
