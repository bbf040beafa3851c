"""Trains a model on labelled crops and writes its model directory; nothing on the main path imports this room."""
