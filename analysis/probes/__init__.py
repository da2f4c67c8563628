"""What each layer of an encoder holds: phones, words, speakers.

In: labelled speech and an encoder. Out: scores per layer with controls and intervals, figures.
"""
