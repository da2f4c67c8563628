"""One YAML per SUPERB task: s3prl's settings and, under ``superb:``, the task's metrics and
corpus.
"""
