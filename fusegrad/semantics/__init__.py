"""What the calls of the array API mean on nodes: promotion, broadcasting, axes, indices.

Functions from nodes to nodes; knows no Tensor, no trace and no values.
"""
