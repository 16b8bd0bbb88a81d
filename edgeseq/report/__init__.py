"""Pages that show a training, or what a model makes of one recording (extra `train`)."""
