"""Recording in a process of its own: what PortAudio hangs in can be killed, and nothing slow blocks it."""
