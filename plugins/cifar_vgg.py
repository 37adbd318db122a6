"""VGG with batch norm for 32×32 images."""

from __future__ import annotations

from lth_bench import hookimpl
from lth_bench_plugins.networks import check


def vgg(depth):
    """The function that makes the CIFAR VGG of `depth` layers."""

    def make(pretrained=False, in_chans=3, num_classes=10, width=1, **others):
        from lth_bench_plugins.networks import plain

        check(f"cifar_vgg{depth}", pretrained, others, "width")
        return plain.vgg(depth, width, in_chans, num_classes)

    make.__doc__ = f"""VGG-{depth} with batch norm for 32×32 images, `width` times as wide.

    Simonyan & Zisserman 2015, arXiv:1409.1556, as the pruning literature uses it (GraSP, arXiv:2002.07376): it ends in
    mean pooling and one linear layer, where timm's `vgg{depth}_bn` has two more layers of 4,096 units. Kaiming normal
    weights.
    """
    make.title = f"VGG-{depth}"
    return make


MODELS = {f"cifar_vgg{depth}": vgg(depth) for depth in (11, 13, 16, 19)}


@hookimpl
def register_models(register):
    for name, function in MODELS.items():
        register(name, function)
