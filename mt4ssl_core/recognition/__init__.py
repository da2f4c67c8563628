"""Speech to text with a fine-tuned model: transcripts of audio of any length, and error rates.

In: a CTC model and audio, with what was really said. Out: transcripts, captions, scores.
"""
