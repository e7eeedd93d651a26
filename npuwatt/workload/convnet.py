"""Convolutions as matrix products: output pixels by kernel volume by output channels."""

from __future__ import annotations

from typing import ClassVar, Literal

from npuwatt import require
from npuwatt.errors import NpuwattError
from npuwatt.record import Record
from npuwatt.workload.ops import Op
from npuwatt.workload.request import Request, arithmetic_dtype, width_bytes


class Convolution(Record):
    """`count` convolutions of one shape; a fully connected layer is one of size 1 and kernel 1."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    out_size: int  # rows (and columns) of the output
    stride: int = 1
    count: int = 1
    bias: bool = False
    norm: bool = True

    def __post_init__(self) -> None:
        require.counts(1, in_channels=self.in_channels, out_channels=self.out_channels, kernel=self.kernel)
        require.counts(1, out_size=self.out_size, stride=self.stride, count=self.count)


class ConvNet(Record):
    """A convolutional network: one pass a request, every layer a matrix product."""

    layers: tuple[Convolution, ...]
    published_params_count: float = 0.0

    kind: ClassVar[Literal["convnet"]] = "convnet"
    decoder: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.layers:
            raise NpuwattError("layers: none given; expected at least one")
        require.not_negative(published_params=self.published_params_count)


def convnet_ops(network: ConvNet, request: Request) -> list[Op]:
    """Ops of one pass over a batch of images; a batch shares each layer's weights."""
    weight_bytes, activation_bytes = width_bytes(request.weights), width_bytes(request.activations)
    dtype = arithmetic_dtype(request.weights, request.activations)
    ops = []
    for layer in network.layers:
        k = layer.in_channels * layer.kernel**2
        n = layer.out_channels
        pixels = layer.out_size**2
        read = layer.in_channels * (layer.out_size * layer.stride) ** 2
        ops.append(
            Op(
                layer.name,
                "convolution",
                dtype,
                stored=request.weights,
                layers=layer.count,
                tokens=request.batch * pixels,
                macs=layer.count * k * n * pixels * request.batch,
                weight_bytes=layer.count * k * n * weight_bytes,
                activation_bytes=layer.count * (read + n * pixels) * activation_bytes * request.batch,
                operand_bytes=weight_bytes,
                k=k,
                n=n,
            )
        )
    return ops
