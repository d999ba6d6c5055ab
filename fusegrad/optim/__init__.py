"""Optimizers, as in torch.

User-level code: uses the public interface only.
"""
