import re

import pytest
import torch

from vptx.readout import OWN, READOUTS, check_readout

PREFIX, PROMPTS, PATCHES = (torch.full((2, n, 4), value) for n, value in ((1, 1.0), (2, 2.0), (6, 5.0)))


@pytest.mark.parametrize(('readout', 'value'), [('cls', 1), ('mean', 5), ('prompts', 2), ('prompts+patches', 34 / 8)])
def test_pooled(readout, value):
    torch.testing.assert_close(READOUTS[readout](PREFIX, PROMPTS, PATCHES, (2, 3)), torch.full((2, 4), float(value)))


def test_map_keeps_rows_and_columns():
    patches = torch.arange(6.0).view(1, 6, 1)
    assert READOUTS['map'](None, None, patches, (2, 3)).tolist() == [[[[0, 1, 2], [3, 4, 5]]]]


@pytest.mark.parametrize(
    ('readout', 'facts', 'reason'),
    [
        ('average', (True, True, True), 'there is no such readout'),
        ('cls', (False, True, True), 'thing has no class token'),
        ('prompts', (True, True, False), 'no prompt tokens are left after the last layer with this prompter'),
        ('prompts+patches', (True, True, False), 'no prompt tokens are left'),
    ],
)
def test_what_cannot_be_served_is_refused_with_what_can(readout, facts, reason):
    has_class_token, has_tokens, prompts_at_end = facts
    with pytest.raises(ValueError, match=re.escape(f"readout '{readout}' cannot be served: {reason}")) as error:
        check_readout(readout, 'thing', has_class_token, has_tokens, prompts_at_end)
    for offered in str(error.value).partition('you can have: ')[2].split(', '):
        check_readout(offered, 'thing', *facts)


def test_what_can_be_served_passes():
    for readout in (*READOUTS, OWN):
        check_readout(readout, 'thing', True, True, True)
    check_readout(OWN, 'thing', False, False, False)
