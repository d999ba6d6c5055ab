"""Tensors: values or recorded graphs, their state, their operators and methods."""
