"""clip_mini_shots.py, and from base to new classes: 16 images of each base class, all classes to test.

What is selected is selected on base classes; one pass over the test images gives base, new, H, and all at once.
"""

_base_ = ['./clip_mini_shots.py']

variants = dict(
    base_to_new={
        'train_dataloader.dataset.part': 'base',
        'val_dataloader.dataset.part': 'base',
        'test_evaluator': dict(_delete_=True, type='BaseToNew'),
    }
)
