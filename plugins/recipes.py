"""The training recipes of papers, by name; docs/recipes.md lists how each differs from its paper."""

from __future__ import annotations

from functools import partial

from lth_bench import Duration, Recipe, hookimpl


def at(*milestones):
    return tuple(Duration(milestone) for milestone in milestones)


def steps(duration, batch_size, learning_rate, *milestones, **others):
    """SGD with momentum and a learning rate that falls at milestones."""
    fields = {"momentum": 0.9, **others}
    return Recipe(Duration(duration), batch_size, learning_rate, schedule="step", milestones=at(*milestones), **fields)


small = {"crop": 4, "flip": True}
adam = partial(Recipe, optimizer="adam", initialisation="glorot_normal", measure_every=Duration("100it"))
lth = partial(steps, weight_decay=1e-4, initialisation="glorot_normal", measure_every=Duration("100it"), **small)
open_lth = partial(
    steps, "160ep", 128, 0.1, "80ep", "120ep", weight_decay=1e-4, initialisation="kaiming_normal", **small
)
long = partial(steps, "160ep", 128, 0.1, "80ep", "120ep", **small)
nesterov = partial(steps, nesterov=True, weight_decay=5e-4, **small)
edge_popup = partial(Recipe, learning_rate=0.1, momentum=0.9, schedule="cosine")

RECIPES = {
    # Frankle & Carbin 2019, arXiv:1803.03635, figure 2 and appendices G to I
    "lth_lenet": adam(Duration("50000it"), 60, 1.2e-3),
    "lth_conv_2": adam(Duration("20000it"), 60, 2e-4),
    "lth_conv_4": adam(Duration("25000it"), 60, 3e-4),
    "lth_conv_6": adam(Duration("30000it"), 60, 3e-4),
    "lth_resnet18_low": lth("30000it", 128, 0.01, "20000it", "25000it"),
    "lth_resnet18_warmup": lth("30000it", 128, 0.03, "20000it", "25000it", warmup=Duration("20000it")),
    "lth_vgg19_low": lth("160ep", 64, 0.01, "80ep", "120ep"),
    "lth_vgg19_warmup": lth("160ep", 64, 0.1, "80ep", "120ep", warmup=Duration("10000it")),
    # Frankle et al. 2020, arXiv:1912.05671
    "rewinding_resnet20": steps("63000it", 128, 0.1, "32000it", "48000it", weight_decay=1e-4, **small),
    # Frankle et al. 2021, arXiv:2009.08576
    "open_lth_lenet": Recipe(Duration("40ep"), 128, 0.1, initialisation="kaiming_normal"),
    "open_lth_cifar": open_lth(norm_scale="uniform"),
    # Lee et al. 2019, arXiv:1810.02340
    "snip_cifar": steps("150000it", 128, 0.1, "30000it", "60000it", "90000it", "120000it", weight_decay=5e-4, **small),
    # Wang et al. 2020, arXiv:2002.07376
    "grasp_vgg19": long(weight_decay=5e-4, initialisation="kaiming_normal"),
    "grasp_resnet32": long(weight_decay=1e-4, initialisation="kaiming_normal"),
    # Tanaka et al. 2020, arXiv:2006.05467
    "synflow_vgg": nesterov("160ep", 128, 0.1, "60ep", "120ep", weight_decay=1e-4, initialisation="kaiming_normal"),
    "synflow_resnet18": nesterov("160ep", 128, 0.01, "60ep", "120ep", factor=0.2),
    # Evci et al. 2020, arXiv:1911.11134
    "rigl_mnist": steps(
        "200ep", 100, 0.2, "75ep", "95ep", factor=1 / 3, nesterov=True, weight_decay=1e-4, decay="weights"
    ),
    "rigl_wrn_22_2": nesterov(
        "97656it",
        128,
        0.1,
        "30000it",
        "60000it",
        "90000it",
        factor=0.2,
        decay="weights",
        initialisation="glorot_normal",
    ),
    "rigl_resnet50": steps(
        *("100ep", 4096, 1.6, "30ep", "70ep", "90ep"),
        nesterov=True,
        weight_decay=1e-4,
        decay="weights",
        label_smoothing=0.1,
        transforms={"color_jitter": 0.0},
    ),
    # Liu et al. 2021, arXiv:2102.02887 (ITOP) and arXiv:2106.10404 (GraNet); Liu et al. 2022, arXiv:2202.02643
    "itop_cifar": nesterov("250ep", 128, 0.1, "50%", "75%"),
    "granet_cifar": nesterov("160ep", 128, 0.1, "80ep", "120ep"),
    "random_pruning_cifar": nesterov("160ep", 128, 0.1, "80ep", "120ep", initialisation="kaiming_normal"),
    # Zhou et al. 2019, arXiv:1905.01067
    "supermask_lenet": Recipe(Duration("2000ep"), 250, 100.0, momentum=0.9, initialisation="glorot_normal"),
    # Ramanujan et al. 2020, arXiv:1911.13299
    "edge_popup_conv": edge_popup(Duration("100ep"), 128, weight_decay=1e-4, initialisation="kaiming_normal", **small),
    "edge_popup_resnet18": edge_popup(
        Duration("100ep"), 256, weight_decay=5e-4, initialisation="kaiming_normal", **small
    ),
    # You et al. 2020, arXiv:1909.11957
    "early_bird_cifar": steps("160ep", 256, 0.1, "80ep", "120ep", weight_decay=1e-4, **small),
    # Liu et al. 2019, arXiv:1810.05270
    "rethinking_cifar": steps("160ep", 64, 0.1, "80ep", "120ep", weight_decay=1e-4, **small),
    # Khodak et al. 2021, arXiv:2105.01029
    "factorized_resnet32": steps("200ep", 128, 0.1, "50%", "75%", weight_decay=1e-4, **small),
    "factorized_vgg19": steps("200ep", 128, 0.1, "50%", "75%", weight_decay=2e-4, **small),
    # no paper's: transformers and the like on small images
    "small_vit": Recipe(
        Duration("100ep"),
        128,
        1e-3,
        optimizer="adamw",
        weight_decay=0.05,
        decay="weights",
        schedule="cosine",
        warmup=Duration("5ep"),
        label_smoothing=0.1,
        cutout=8,
        **small,
    ),
}


@hookimpl
def register_recipes(register):
    for name, recipe in RECIPES.items():
        register(name, recipe)
