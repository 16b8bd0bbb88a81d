"""N-gram language models: counted from text, read from ARPA files, kept in a file that opens in milliseconds."""
