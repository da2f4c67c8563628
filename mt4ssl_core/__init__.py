"""Learn a speech encoder from offline and online targets together (MT4SSL, arXiv 2211.07321)."""
