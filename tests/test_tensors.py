"""Tensors of files that a network cannot compute with: each is one error, which begins with the file."""

import pytest
import torch

from vptx.tensors import check_layout, check_numbers

LIKE = dict(weight=torch.zeros(2), count=torch.zeros(2, dtype=torch.int64))
BAD = {
    'nan': ('weight', torch.tensor([1, torch.nan]), 'NaN, infinite or beyond float32'),
    'infinite': ('weight', torch.tensor([1, -torch.inf]), 'NaN, infinite or beyond float32'),
    'beyond': ('weight', torch.tensor([1, 1e300], dtype=torch.float64), 'NaN, infinite or beyond float32'),
    'complex': ('weight', torch.ones(2, dtype=torch.complex64), 'weight as complex64; expected float32'),
    'bool': ('weight', torch.ones(2, dtype=torch.bool), 'weight as bool; expected float32'),
    'int': ('weight', torch.ones(2, dtype=torch.int32), 'weight as int32; expected float32'),
    'fractions': ('count', torch.ones(2), 'count as float32; expected int64'),
    'sparse': ('weight', torch.ones(2).to_sparse(), 'weight as a sparse tensor'),
    'quantized': ('weight', torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8), 'as a quantized tensor'),
    'meta': ('weight', torch.ones(2, device='meta'), 'weight as a meta tensor'),
    'number': ('weight', 3, "int 'weight'; expected tensors by their names"),
    'no name': (3, torch.ones(2), 'Tensor 3; expected tensors by their names'),
}


@pytest.mark.parametrize('name', BAD)
def test_refused(name):
    key, tensor, message = BAD[name]
    with pytest.raises(ValueError, match=rf'^dir/a\.pth holds .*{message}'):
        check_numbers({key: tensor}, LIKE, 'dir/a.pth')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn])
def test_any_floats_pass(dtype):
    check_numbers(dict(weight=torch.ones(2).to(dtype)), LIKE, 'a.pth')


def test_whole_numbers_pass_where_they_are_expected():
    check_numbers(dict(count=torch.ones(2, dtype=torch.int32)), LIKE, 'a.pth')
    check_layout(dict(mask=torch.ones(2, dtype=torch.bool)), 'a.pth')
