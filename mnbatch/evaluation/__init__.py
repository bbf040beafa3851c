"""Evaluation of a model on labelled cells: figures with intervals, two models compared, maps against masks."""
