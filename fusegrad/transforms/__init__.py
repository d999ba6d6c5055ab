"""Transformations of functions: derivatives, batches, loops and branches."""
