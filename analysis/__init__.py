"""Understand a run: results as data first, then tables and plots."""
