"""Whether two systems differ, from what each item of their tests came to.

In: two run folders. Out: a sentence, a row and a record for each score.
"""
