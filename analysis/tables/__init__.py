"""Scores in tables: the leaderboard, and those of the demo and of docs/results.md.

In: records. Out: Markdown, CSV, HTML and LaTeX in which no name is taken for a command.
"""
