"""Losses leave autocast and half precision, and nothing else changes."""

import pytest
import torch

from skdeepclust.ops.precision import full_precision


@full_precision
def product(x, factor=1.0, other=None):
    """Square matrices multiply."""
    product.dtypes = x.dtype, None if other is None else other.dtype
    return x @ (x if other is None else other) * factor


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_arguments_become_float32(half):
    out = product(torch.ones(2, 2, dtype=half), other=torch.ones(2, 2, dtype=half))
    assert product.dtypes == (torch.float32, torch.float32)
    assert out.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_types_pass_as_they_are(dtype):
    assert product(torch.ones(2, 2, dtype=dtype), 2.0).dtype == dtype


def test_autocast_is_off_inside_and_on_again_after():
    x = torch.full((2, 2), 1 + 2**-10)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(product(x), x.double().matmul(x.double()).float())
        assert (x @ x).dtype == torch.bfloat16


def test_integers_are_left_alone():
    @full_precision
    def pick(x, index):
        assert index.dtype == torch.int64
        return x[index]

    assert pick(torch.arange(3.0), torch.tensor([2])).item() == 2


def test_gradients_reach_half_arguments():
    x = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    product(x).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad, torch.full((2, 2), 4.0, dtype=torch.bfloat16))


def test_name_and_docstring_stay():
    assert product.__name__ == "product"
    assert product.__doc__ == "Square matrices multiply."
