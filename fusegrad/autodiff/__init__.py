"""Derivatives: from a graph to the graph of its adjoints.

Names no op and knows no loops: it only asks ops for their rules.
"""
