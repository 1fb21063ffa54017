"""Many tasks on one frozen network: a bank of prompt files, and a server."""

from vptx.serve.bank import Bank, UnknownTask

__all__ = ['Bank', 'UnknownTask']
