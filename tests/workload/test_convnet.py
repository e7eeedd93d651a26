"""Convolutions as matrix products, against the published work of ResNet-50."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.scenario import load_network
from npuwatt.workload.convnet import ConvNet, Convolution, convnet_ops
from npuwatt.workload.ops import table
from npuwatt.workload.request import Request

ONE = Convolution(name="one", in_channels=3, out_channels=5, kernel=3, out_size=4, stride=2, count=2)


@cache
def resnet() -> ConvNet:
    found = load_network(str(Path(library.presets_root(), "networks", "resnet-50.yaml"))).record
    assert isinstance(found, ConvNet)
    return found


def test_resnet_50_takes_the_published_macs_an_image() -> None:
    # torchvision model page, ResNet50_Weights: 4.09 "GFLOPS" (they count MACs); 4.089 by layer rules of version 1.5.
    macs = float(table(convnet_ops(resnet(), Request())).macs.sum())
    assert macs == pytest.approx(4.089e9, rel=2e-4)


def test_resnet_50_has_53_convolutions_and_one_fully_connected_layer() -> None:
    # He et al., arXiv 1512.03385, table 1: 49 on the main path and the classifier, and 4 projection shortcuts.
    convolutions = sum(layer.count for layer in resnet().layers if layer.out_size > 1)
    assert convolutions == 53
    assert [layer.out_channels for layer in resnet().layers if layer.out_size == 1] == [1000]


def test_each_convolution_is_a_matrix_product_by_hand() -> None:
    (op,) = convnet_ops(ConvNet(layers=(ONE,)), Request(batch=2, weights="int8", activations="bf16"))
    outputs = 2 * 2 * 4 * 4 * 5  # layers, images, rows, columns, channels
    assert op.macs == outputs * 3 * 3 * 3
    assert op.weight_bytes == 2 * 5 * 3 * 3 * 3 * 1
    assert op.activation_bytes == (2 * 2 * 3 * 8 * 8 + outputs) * 2  # inputs of 8 x 8, strided to 4 x 4
    assert (op.k, op.n) == (27, 5)
    assert op.dtype == "bf16"


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_a_batch_of_images_shares_the_weights(batch: int) -> None:
    one, many = (table(convnet_ops(resnet(), Request(batch=b))) for b in (1, batch))
    assert (many.weight_bytes == one.weight_bytes).all()
    assert (many.macs == batch * one.macs).all()
    assert (many.activation_bytes == batch * one.activation_bytes).all()


def test_a_network_of_no_layers_is_refused() -> None:
    with pytest.raises(NpuwattError, match="layers"):
        ConvNet(layers=())


@pytest.mark.parametrize("field", ["in_channels", "out_channels", "kernel", "out_size", "stride", "count"])
def test_a_convolution_of_no_size_is_refused(field: str) -> None:
    with pytest.raises(NpuwattError, match=field):
        replace(ONE, **{field: 0})
