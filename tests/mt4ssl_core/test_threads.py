import pytest
import torch

from mt4ssl_core.threads import cores, thread_pool


def test_operations_are_whole_inside_and_the_setting_comes_back():
    before = torch.get_num_threads()
    with thread_pool(2) as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
    assert torch.get_num_threads() == before
    with thread_pool(2, split_operations=True):
        assert torch.get_num_threads() == before
    with pytest.raises(KeyError), thread_pool(1):
        raise KeyError
    assert torch.get_num_threads() == before
    assert cores() >= 1
