"""From a microphone to words, live, on small computers."""
