"""Checkpoints of any kind written as those of other toolkits; each into a folder of its own."""
