"""What a model writes: characters, subwords, phones, and the words that they make."""
