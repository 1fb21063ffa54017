"""What runs are judged by, beyond the metrics of mmpretrain."""

from .base_to_new import BaseToNew, harmonic_mean

__all__ = ['BaseToNew', 'harmonic_mean']
