"""Corpora and speech synthesis: whatever becomes a manifest of recordings."""
