"""What the frozen part of a network makes of images, computed once and kept on disk.

A linear probe is a frozen network with a head that trains: ten epochs of forty settings run every image through the
same weights four hundred times. The same holds before the first layer that a trained parameter acts on, with deep
prompts in the last layers alone, or with tuned last layers. It does not hold for images that are augmented at random.
Autograd decides what is frozen; the state of the random generators decides what is random.
"""
