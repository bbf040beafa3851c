"""A person's decisions on cells: which cells are shown, what was decided, and the reviewed frequency."""
