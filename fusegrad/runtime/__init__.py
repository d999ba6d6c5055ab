"""Running programs: devices, memory, threads, caches.

Knows no ops and no Tensor.
"""
