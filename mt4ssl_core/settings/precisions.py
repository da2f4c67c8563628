"""Precisions in which features are kept; without torch, so that a command line knows them."""

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}  # of a value
PRECISIONS = tuple(BYTES)
