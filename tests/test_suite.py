from dataclasses import replace

import pytest

from lth_bench.plugins import load_plugins
from lth_bench.suite import SuiteError, plan, read_suite

PLUGINS = load_plugins()
GOOD = {
    "title": 'title = "t"',
    "models": 'models = ["lenet_300_100"]',
    "datasets": 'datasets = ["digits"]',
    "seeds": "seeds = [0, 1]",
    "sparsities": "sparsities = [0.5, 0.9]",
    "recipe": 'recipe = "r"',
    "recipes": '[recipes.r]\nduration = "1ep"\nbatch_size = 10\nlearning_rate = 0.1',
    "pruners": '[[pruners]]\nname = "dense"\nsparsities = [0]\n[[pruners]]\nname = "imp"\ncontrols = ["redraw"]',
}


def planned(tmp_path, **changes):
    path = tmp_path / "suite.toml"
    path.write_text("\n".join((GOOD | changes).values()))
    return plan(read_suite(str(path), PLUGINS)[1], PLUGINS)


def faults(tmp_path, **changes):
    with pytest.raises(SuiteError) as error:
        planned(tmp_path, **changes)
    return "\n".join(error.value.faults)


def test_a_suite_is_a_product_with_seeds_first_and_controls_behind_their_base(tmp_path):
    items = planned(tmp_path)
    seen = [(item.experiment.seed, item.label, item.experiment.sparsity) for item in items]
    one = [("dense", 0.0), ("imp", 0.5), ("imp, redraw", 0.5), ("imp", 0.9), ("imp, redraw", 0.9)]
    assert seen == [(seed, *rest) for seed in (0, 1) for rest in one]
    assert items[2].experiment.base == items[1].experiment


def test_a_pruner_may_name_a_recipe_of_its_own(tmp_path):
    recipes = GOOD["recipes"] + '\n[recipes.long]\nduration = "2ep"\nbatch_size = 10\nlearning_rate = 0.1'
    pruners = '[[pruners]]\nname = "snip"\n[[pruners]]\nname = "imp"\nrecipe = "long"'
    items = planned(tmp_path, recipes=recipes, pruners=pruners)
    assert {(item.label, item.recipe, item.own_recipe) for item in items} == {
        ("snip", "r", False),
        ("imp", "long", True),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pruners": '[[pruners]]\nname = "snp"'}, ["pruners[0].name: no pruner 'snp'; known: dense, imp"]),
        (
            {"datasets": 'datasets = ["minst"]'},
            ["datasets[0].name: no dataset 'minst'; known: cifar10, cifar100, digits, fashion_mnist, mnist"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\narguments = { rat = 0.2 }'},
            ["pruners[0].arguments.rat: no such parameter of 'imp'; known: rate, rewind_to"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\narguments = { rate = "fast" }'},
            ["pruners[0].arguments.rate:", "valid number", "found: 'fast'"],
        ),
        ({"pruners": '[[pruners]]\nname = "imp"\narguments = { rate = 1.5 }'}, ["pruners[0].arguments", "rate", "1.5"]),
        ({"pruners": '[[pruners]]\nname = "imp"\narguments = { rate = 0 }'}, ["pruners[0].arguments", "rate"]),
        (
            {"pruners": '[[pruners]]\nname = "imp"\narguments = { rewind_to = "soon" }'},
            ["pruners[0].arguments.rewind_to: a duration reads '500it', '2ep' or '10%', not 'soon'"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\narguments = { scope = "galaxy" }'},
            ["pruners[0].arguments.scope", "'global' or 'layer'", "galaxy"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\ncontrols = ["redo"]'},
            ["pruners[0].controls[0].name: no control 'redo'"],
        ),
        ({"pruners": '[[pruners]]\nname = "imp"\nspeed = 3'}, ["pruners[0].speed: no such key here"]),
        (
            {"pruners": '[[pruners]]\nname = "imp"\nrecipe = "x"'},
            ["pruners[0].recipe: no recipe 'x'; known: early_bird_cifar, ", "in this suite: r"],
        ),
        ({"recipe": 'recipe = "x"'}, ["recipe: no recipe 'x'; known: early_bird_cifar, ", "in this suite: r"]),
        (
            {"recipes": '[recipes.r]\nduration = "1ep"\nbatch_size = 10'},
            ["recipes.r.learning_rate: this key is needed"],
        ),
        (
            {"recipes": GOOD["recipes"] + "\nlr = 0.1"},
            ["recipes.r.lr: no such field; known: like, duration, batch_size"],
        ),
        ({"recipes": GOOD["recipes"].replace("10", "10.5")}, ["recipes.r.batch_size", "10.5"]),
        ({"recipes": GOOD["recipes"].replace("10", "0")}, ["recipes.r", "batch_size must be positive"]),
        ({"recipes": GOOD["recipes"].replace("0.1", "-0.1")}, ["recipes.r", "learning_rate must be positive"]),
        ({"recipes": GOOD["recipes"].replace("1ep", "50%")}, ["recipes.r", "not a share of itself"]),
        ({"recipes": GOOD["recipes"] + '\nlike = "x"'}, ["recipes.r.like: no recipe 'x'; known: early_bird_cifar, "]),
        ({"sparsities": "sparsities = []"}, ["sparsities:", "at least 1 item"]),
        ({"seeds": "seeds = []"}, ["seeds:", "at least 1 item"]),
        ({"models": "models = []"}, ["models:", "at least 1 item"]),
        ({"sparsities": "sparsities = [0.5, 1.0]"}, ["sparsities[1]:", "less than 1", "found: 1.0"]),
        ({"sparsities": "sparsities = [-0.5]"}, ["sparsities[0]:", "greater than or equal to 0"]),
        ({"sparsities": "sparsities = [nan]"}, ["sparsities[0]"]),
        ({"sparsities": "sparsities = [0.5, 0.5]"}, ["sparsities: 0.5 stands there 2 times"]),
        ({"seeds": "seeds = [1, 1]"}, ["seeds: 1 stands there 2 times"]),
        ({"seeds": "seeds = [true]"}, ["seeds[0]"]),
        ({"models": 'models = [{ name = "resnet18", arguments = { x = nan } }]'}, ["models[0].arguments", "not JSON"]),
        ({"recipes": GOOD["recipes"].replace("1ep", "0ep")}, ["recipes.r", "duration must be longer than '0ep'"]),
        ({"recipes": GOOD["recipes"] + '\noptimizer = "adam"\nmomentum = 0.9'}, ["momentum is for sgd; adam has none"]),
        ({"seeds": 'seeds = ["0"]'}, ["seeds[0]", "valid integer"]),
        ({"seeds": "seeds = [0]\nseeds = [1]"}, ["not valid TOML", "line 5"]),
        ({"title": ""}, ["title: this key is needed"]),
        (
            {"pruners": '[[pruners]]\nname = "snip"\n[[pruners]]\nname = "snip"'},
            ["the same experiment is asked for twice"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "snip"\nlabel = "a"\n[[pruners]]\nname = "imp"\nlabel = "a"'},
            ["label: 'a' stands there 2 times"],
        ),
    ],
)
def test_every_fault_is_named_with_its_place(tmp_path, change, words):
    found = faults(tmp_path, **change)
    for word in words:
        assert word in found, found


def test_a_recipe_may_be_registered_or_like_a_registered_one(tmp_path):
    items = planned(tmp_path, recipe='recipe = "lth_lenet"', recipes="")
    assert all(item.experiment.recipe == PLUGINS.recipes["lth_lenet"] for item in items)
    short = '[recipes.r]\nlike = "lth_lenet"\nduration = "4000it"'
    wanted = replace(PLUGINS.recipes["lth_lenet"], duration="4000it")
    assert all(item.experiment.recipe == wanted for item in planned(tmp_path, recipes=short))


def test_all_faults_are_listed_at_once(tmp_path):
    pruners = '[[pruners]]\nname = "snp"\n[[pruners]]\nname = "imp"\narguments = { rat = 1, output_rate = "x" }'
    found = faults(tmp_path, pruners=pruners, seeds="seeds = [1, 1]", recipe='recipe = "x"').splitlines()
    assert len(found) == 5, found


def test_a_suite_that_is_not_there_is_named():
    with pytest.raises(SuiteError, match=r"no suite 'quickstar'; known: .*quickstart"):
        read_suite("quickstar", PLUGINS)
    with pytest.raises(SuiteError, match=r"cannot read the suite file nowhere\.toml"):
        read_suite("nowhere.toml", PLUGINS)
