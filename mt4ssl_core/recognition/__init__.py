"""Speech to text with a fine-tuned model: search, language models, word error rates, long audio.

In: a CTC model and audio. Out: hypotheses with times and confidences, and how wrong they are.
"""
