"""Which texture and shape? Twenty classes of the task 'relief': vptx/datasets/mini/figure_tasks.py.

320 training images, 16 of each class; 200 validation and 1,000 test images.
"""

_base_ = ['./mini_figures.py']

train_dataloader = dict(dataset=dict(task='relief'))
val_dataloader = dict(dataset=dict(task='relief'))
test_dataloader = dict(dataset=dict(task='relief'))
