import pytest
import torch

from oneticket.ticket.bits import from_bytes, size, to_bytes


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 1001])
def test_the_first_truth_value_is_the_lowest_bit_and_padding_is_zero(count):
    values = torch.rand(count, generator=torch.Generator().manual_seed(count)) < 0.5
    packed = to_bytes(values)
    assert packed.dtype == torch.uint8 and len(packed) == size(count)
    assert int.from_bytes(packed.tolist(), "little") == sum(2**i for i in values.nonzero().squeeze(1).tolist())
    assert torch.equal(from_bytes(packed, count), values)


@pytest.mark.parametrize("times", [1, 600])
def test_every_byte_comes_back(times):
    every = torch.arange(256, dtype=torch.uint8).repeat(times)
    assert torch.equal(to_bytes(from_bytes(every, 2048 * times)), every)


@pytest.mark.parametrize(
    "view", [lambda x: x[3:19], lambda x: x[::2], lambda x: x[:1].expand(16), lambda x: x.view(8, 4).t().reshape(-1)]
)
def test_any_view_packs_as_its_copy_does(view):
    values = torch.arange(32) % 3 == 0
    assert torch.equal(to_bytes(view(values)), to_bytes(view(values).clone(memory_format=torch.contiguous_format)))
