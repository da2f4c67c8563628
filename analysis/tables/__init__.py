"""Scores in tables: the leaderboard, and the tables of README and docs.

In: records. Out: Markdown, CSV, HTML and LaTeX in which no name is taken for a command.
"""
