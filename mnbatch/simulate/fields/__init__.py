"""Simulated camera fields and whole slides: cells of all classes placed on a slide, with their truth."""
