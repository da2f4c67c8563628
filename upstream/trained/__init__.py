"""A trained head in use: audio in, labels or text out, without the corpus that it was trained on.

In: a checkpoint of `heads/`, and audio. Out: what the head says of it, as it does in its test.
"""
