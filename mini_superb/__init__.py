"""A small spoken corpus per SUPERB task, synthesised in the on-disk layout of the real one."""

from mini_superb.corpus import TASKS, make

__all__ = ["TASKS", "make"]
