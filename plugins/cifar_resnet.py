"""Residual networks for 32×32 images: those of He et al., wide ones, and one of preactivated bottlenecks.

Papers mean different networks by ResNet-18 and ResNet-32: the ResNet-18 of Frankle & Carbin 2019 is `cifar_resnet20`,
the ResNet-32 of GraSP (Wang et al. 2020) is `cifar_resnet32` with `width = 2`; timm's `resnet18` is neither.
"""

from __future__ import annotations

from lth_bench import hookimpl
from lth_bench_plugins.networks import check


def resnet(depth):
    """The function that makes the CIFAR ResNet of `depth` layers."""

    def make(pretrained=False, in_chans=3, num_classes=10, width=1, **others):
        from lth_bench.models.initialisation import kaiming_normal
        from lth_bench_plugins.networks.residual import BasicBlock, SmallResNet

        check(f"cifar_resnet{depth}", pretrained, others, "width")
        widths = tuple(round(width * stage) for stage in (16, 16, 32, 64))
        return kaiming_normal(SmallResNet(BasicBlock, (depth - 2) // 6, widths, in_chans, num_classes))

    make.__doc__ = f"""ResNet-{depth} for 32×32 images, `width` times as wide (He et al. 2016, arXiv:1512.03385, 4.2).

    Where the shape changes, the shortcut is a 1×1 convolution with norm. Kaiming normal weights.
    """
    make.title = f"ResNet-{depth}"
    return make


def wide_resnet(depth, width):
    """The function that makes the wide ResNet of `depth` layers and `width`."""

    def make(pretrained=False, in_chans=3, num_classes=10, **others):
        from lth_bench.models.initialisation import kaiming_normal
        from lth_bench_plugins.networks.residual import PreactivatedBlock, SmallResNet

        check(f"wrn_{depth}_{width}", pretrained, others, "none")
        widths = (16, 16 * width, 32 * width, 64 * width)
        return kaiming_normal(SmallResNet(PreactivatedBlock, (depth - 4) // 6, widths, in_chans, num_classes))

    make.__doc__ = f"""WRN-{depth}-{width} (Zagoruyko & Komodakis 2016, arXiv:1605.07146), without dropout.

    Kaiming normal weights.
    """
    make.title = f"WRN-{depth}-{width}"
    return make


def preresnet_101(pretrained=False, in_chans=3, num_classes=10, **others):
    """PreResNet-101 for 32×32 images, of bottlenecks.

    He et al. 2016, arXiv:1603.05027; You et al. 2020, arXiv:1909.11957. Kaiming normal weights.
    """
    from lth_bench.models.initialisation import kaiming_normal
    from lth_bench_plugins.networks.residual import PreactivatedBottleneck, SmallResNet

    check("preresnet_101", pretrained, others, "none")
    return kaiming_normal(SmallResNet(PreactivatedBottleneck, 11, (16, 64, 128, 256), in_chans, num_classes))


preresnet_101.title = "PreResNet-101"


MODELS = {
    **{f"cifar_resnet{depth}": resnet(depth) for depth in (20, 32, 44, 56)},
    **{f"wrn_{depth}_{width}": wide_resnet(depth, width) for depth, width in ((22, 2), (16, 8))},
    "preresnet_101": preresnet_101,
}


@hookimpl
def register_models(register):
    for name, function in MODELS.items():
        register(name, function)
