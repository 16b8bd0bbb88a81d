"""The training world: recordings to weights, with torch and torchaudio (extra `train`)."""
