"""What a pre-training run does beside its updates: begin, skip, validate, save."""
