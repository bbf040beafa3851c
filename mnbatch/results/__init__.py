"""Where every output is, and how it gets there without being torn."""
