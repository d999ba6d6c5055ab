"""From logical kernels to mapped ones: vectors, chunks, register tiles.

Knows no tensors and emits nothing.
"""
