"""Sound from files, pipes, networks and microphones, as blocks of samples at the rate that a model wants."""
