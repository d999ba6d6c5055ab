"""From graph to graph: simplification and fusion.

Knows no kernels and no machine.
"""
