"""ABX: do stretches of speech of one phone lie nearer to each other than to those of another?

In: frames of utterances, and when which phone is said in them. Out: errors, 0.5 of them by chance.
"""
