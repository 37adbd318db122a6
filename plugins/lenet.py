"""LeNet-300-100, registered with timm."""

from __future__ import annotations

from lth_bench import hookimpl

PASSED_BY_TIMM = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}


def lenet_300_100(pretrained=False, img_size=(28, 28), in_chans=1, num_classes=10, **others):
    """Fully connected, 300 and 100 hidden units (LeCun et al. 1998); 266,200 prunable weights at 28×28.

    Initialised by Glorot normal with zero biases (Frankle & Carbin 2019, arXiv:1803.03635, figure 2).
    """
    from collections import OrderedDict
    from itertools import pairwise

    from torch import nn

    if unknown := set(others) - PASSED_BY_TIMM:
        raise TypeError(f"lenet_300_100 has no parameter {', '.join(sorted(unknown))}; known: img_size")
    if pretrained:
        raise ValueError("lenet_300_100 has no pretrained weights")
    widths = [in_chans * img_size[0] * img_size[1], 300, 100, num_classes]
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    for number, (wide_in, wide_out) in enumerate(pairwise(widths), 1):
        layer = nn.Linear(wide_in, wide_out)
        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers[f"fc{number}"] = layer
        layers[f"relu{number}"] = nn.ReLU()
    layers.popitem()
    return nn.Sequential(layers)


@hookimpl
def register_models(register):
    register("lenet_300_100", lenet_300_100)
