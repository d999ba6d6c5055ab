"""From mapped kernels to machine code, one file for each target.

Holds no heuristics and knows no tensors.
"""
