"""The benchmark harness: eager against fused against the installed peers.

Knows fusegrad by its public names only; nothing in fusegrad imports it.
"""
