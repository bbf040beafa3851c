"""Version of reading and preparing: raised when the same file would give other pixels or quality values."""

READER_VERSION = "4"
