"""A person's decisions on cells: what is put before them, what they said, and what follows for the frequency."""
