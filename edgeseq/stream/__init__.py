"""A live stream, step by step: state, gate, endpoint rules, recognizer."""
