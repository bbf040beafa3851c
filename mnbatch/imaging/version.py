"""The version of reading and preparing: raised whenever the same file would give other pixels, scores or quality values."""

READER_VERSION = "1"
