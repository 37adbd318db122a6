"""Conv-2, Conv-4, Conv-6 and Conv-8."""

from __future__ import annotations

from lth_bench import hookimpl
from lth_bench_plugins.networks import check

WEIGHTS = {2: "4.3", 4: "2.4", 6: "2.3", 8: "5.3"}


def conv(depth):
    """The function that makes Conv-`depth`."""

    def make(pretrained=False, img_size=(32, 32), in_chans=3, num_classes=10, **others):
        from lth_bench_plugins.networks import plain

        check(f"conv_{depth}", pretrained, others, "img_size")
        return plain.conv(depth, img_size, in_chans, num_classes)

    make.__doc__ = (
        f"{depth} 3×3 convolutions in modules of two, then 256 and 256 units; {WEIGHTS[depth]} M prunable weights at "
        "32×32.\n\n    Conv-2, 4 and 6: Frankle & Carbin 2019, arXiv:1803.03635, figure 2; Conv-8: Ramanujan et al. "
        "2020,\n    arXiv:1911.13299. Glorot normal weights, zero biases.\n"
    )
    make.title = f"Conv-{depth}"
    return make


MODELS = {f"conv_{depth}": conv(depth) for depth in WEIGHTS}


@hookimpl
def register_models(register):
    for name, function in MODELS.items():
        register(name, function)
