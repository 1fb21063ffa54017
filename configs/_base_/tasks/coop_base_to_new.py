"""From base to new classes: 16 images of each base class to train, all classes to test.

Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022. Base classes are the first half of the
labels. Validation images are of base classes, too. One pass over the test images gives the accuracy of base classes, of
new ones, their harmonic mean H, and the accuracy among all classes.
"""

_base_ = ['./coop.py']

train_dataloader = dict(dataset=dict(part='base'))
val_dataloader = dict(dataset=dict(part='base'))
test_evaluator = dict(_delete_=True, type='BaseToNew')
