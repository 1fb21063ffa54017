"""Runs of heads that are made of class names: runtime.py, and the names of the data before each loop."""

_base_ = ['./runtime.py']

default_hooks = dict(class_names=dict(type='ClassNamesHook'))
