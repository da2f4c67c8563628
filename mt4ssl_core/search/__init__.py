"""From a model's log probabilities to words: greedy, or a beam with a lexicon and an n-gram model.

In: log probabilities of frames and tokens, and the files of a lexicon and a language model. Out:
hypotheses with the times and confidences of their words.
"""
