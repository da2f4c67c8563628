"""Checkpoints from elsewhere: the only folder that knows a foreign name."""
