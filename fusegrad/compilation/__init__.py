"""Compiled functions: signatures, guards, the path of a call, and what is told of them."""
