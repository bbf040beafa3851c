"""Exports, layouts, readers, the one way a crop is prepared, quality measures; no torch."""
