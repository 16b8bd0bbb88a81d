"""Network servers: live streams of many clients through one model, in the protocols that clients already speak."""
