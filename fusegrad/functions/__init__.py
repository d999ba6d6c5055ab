"""The functions of the namespace: each records what it computes."""
