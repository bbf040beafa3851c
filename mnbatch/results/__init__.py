"""Where every output lies, and how it gets there without being torn."""
