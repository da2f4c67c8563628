"""One script per promise about speed or scores; results/*.json say on which machine."""
