"""Convolutions as matrix products: output pixels by kernel volume by output channels."""

from __future__ import annotations

from npuwatt.workload.network import ConvNet
from npuwatt.workload.ops import Op
from npuwatt.workload.request import Request, arithmetic_dtype, width_bytes


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
                count=layer.count,
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
