"""What s3prl meets first: our upstream, its hub, the tasks, and what may be handed to it.

In: names, paths and settings of a user. Out: checked ones; whatever s3prl would run as code is
refused here.
"""
