"""Speech whose phones, words or speakers are known: what probes learn from.

In: folders of LibriSpeech, Speech Commands and others, lists, alignments of five kinds. Out:
utterances with what is known of each.
"""
