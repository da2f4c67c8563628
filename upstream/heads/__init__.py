"""One task: a head is trained and tested through s3prl.

In: a command line or a call of `runner.run`. Out: an experiment folder that can be resumed, and
its records.
"""
