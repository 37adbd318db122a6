"""Fully connected networks and LeNet-5."""

from __future__ import annotations

from lth_bench import hookimpl
from lth_bench_plugins.networks import check


def mlp(pretrained=False, img_size=(28, 28), in_chans=1, num_classes=10, widths=(300, 100), **others):
    """A fully connected network on pixels with hidden layers of `widths`; Glorot normal weights, zero biases."""
    from lth_bench_plugins.networks import plain

    check("mlp", pretrained, others, "img_size, widths")
    return plain.mlp(img_size, in_chans, widths, num_classes)


def lenet_300_100(pretrained=False, img_size=(28, 28), in_chans=1, num_classes=10, **others):
    """A fully connected network, 300 and 100 hidden units (LeCun et al. 1998); 266,200 prunable weights at 28×28.

    Glorot normal weights, zero biases (Frankle & Carbin 2019, arXiv:1803.03635, figure 2).
    """
    check("lenet_300_100", pretrained, others, "img_size")
    return mlp(pretrained, img_size, in_chans, num_classes)


def lenet_5(pretrained=False, img_size=(28, 28), in_chans=1, num_classes=10, width=1, norm=False, **others):
    """Two convolutions of 20 and 50 filters and 500 units, as in Caffe; 430,500 prunable weights at 28×28.

    The LeNet-5 of SNIP (Lee et al. 2019, arXiv:1810.02340). Glorot normal weights, zero biases. `width` multiplies the
    number of filters and units; `norm` adds batch norm after every layer but the last, and ReLU after the norms of
    convolutions.
    """
    from lth_bench_plugins.networks import plain

    check("lenet_5", pretrained, others, "img_size, width, norm")
    return plain.lenet_5(img_size, in_chans, num_classes, width, norm)


mlp.title = "MLP"
lenet_300_100.title = "LeNet-300-100"
lenet_5.title = "LeNet-5"


@hookimpl
def register_models(register):
    for function in (mlp, lenet_300_100, lenet_5):
        register(function.__name__, function)
