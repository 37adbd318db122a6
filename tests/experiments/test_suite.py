from dataclasses import replace
from pathlib import Path

import pytest

from lth_bench.cli.selection import select
from lth_bench.errors import SuiteError
from lth_bench.experiments.experiment import Choice
from lth_bench.experiments.plan import plan, read_suite
from lth_bench.experiments.plugins import Provider, load_plugins

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
    one = [("dense", 0.0), ("IMP", 0.5), ("IMP, redraw", 0.5), ("IMP", 0.9), ("IMP, redraw", 0.9)]
    assert seen == [(seed, *rest) for seed in (0, 1) for rest in one]
    assert items[2].experiment.base == items[1].experiment
    assert {(item.recipe, item.own_recipe) for item in items} == {("r", False)}


def with_controls(controls, *more):
    """Changes to the suite that give every pruner these controls; `more` are recipes."""
    pruners = '[[pruners]]\nname = "dense"\nsparsities = [0]\n[[pruners]]\nname = "imp"\nsparsities = [0.0, 0.9]'
    recipes = "\n".join([GOOD["recipes"], *more])
    return {"recipe": f'recipe = "r"\ncontrols = [{controls}]', "pruners": pruners, "recipes": recipes}


def test_where_nothing_is_pruned_there_is_nothing_to_control(tmp_path):
    items = planned(tmp_path, **with_controls('"redraw"'))
    found = [(item.label, item.experiment.sparsity) for item in items if item.experiment.seed == 0]
    assert found == [("dense", 0.0), ("IMP", 0.0), ("IMP", 0.9), ("IMP, redraw", 0.9)]


OTHER = '[recipes.other]\nduration = "2ep"\nbatch_size = 10\nlearning_rate = 0.1'
SAME = OTHER.replace("other", "same").replace("2ep", "1ep")


def test_a_ticket_from_elsewhere_is_found_before_it_is_trained(tmp_path):
    text = '{ name = "transfer", found_on = "mnist" }, { name = "redraw", found_on = "mnist", found_with = "other" }'
    items = planned(tmp_path, **with_controls(text, OTHER), seeds="seeds = [0]")
    assert [(item.label, item.experiment.dataset.name, item.recipe, item.own_recipe) for item in items[2:]] == [
        ("IMP", "digits", "r", False),
        ("IMP, for its ticket", "mnist", "r", False),
        ("IMP, transfer (found on mnist)", "digits", "r", False),
        ("IMP, for its ticket (with other)", "mnist", "other", True),
        ("IMP, redraw (found on mnist with other)", "digits", "r", False),
    ]
    assert [items[4].experiment.base, items[6].experiment.base] == [items[3].experiment, items[5].experiment]


def test_what_finds_a_ticket_is_planned_once(tmp_path):
    text = ", ".join(f'{{ name = "{name}", found_on = "fashion_mnist" }}' for name in ("transfer", "redraw"))
    there = 'datasets = ["mnist", "digits", "fashion_mnist"]'
    for datasets in ('datasets = ["mnist", "digits"]', there):
        items = planned(tmp_path, **with_controls(text), datasets=datasets, seeds="seeds = [0, 1]")
        keys = [item.experiment.key for item in items]
        assert len(keys) == len(set(keys))
        for place, item in enumerate(items):
            assert item.experiment.base is None or item.experiment.base.key in keys[:place]
            assert item.experiment.dataset.name != "fashion_mnist" or item.experiment.control is None
        seeds = [item.experiment.seed for item in items]
        assert seeds == sorted(seeds)
        assert any(item.label == "IMP, for its ticket" for item in items) == (datasets != there)


def test_a_pruner_may_name_a_recipe_of_its_own(tmp_path):
    recipes = GOOD["recipes"] + '\n[recipes.long]\nduration = "2ep"\nbatch_size = 10\nlearning_rate = 0.1'
    pruners = '[[pruners]]\nname = "snip"\n[[pruners]]\nname = "imp"\nrecipe = "long"'
    items = planned(tmp_path, recipes=recipes, pruners=pruners)
    assert {(item.label, item.recipe, item.own_recipe) for item in items} == {
        ("SNIP", "r", False),
        ("IMP", "long", True),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"pruners": '[[pruners]]\nname = "snp"'},
            ["pruners[0].name: no pruner 'snp'; did you mean 'snip'? known: acdc, "],
        ),
        (
            {"datasets": 'datasets = ["minst"]'},
            ["datasets[0].name: no dataset 'minst'; did you mean 'mnist'? known: cifar10, cifar100, digits, "],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\narguments = { rat = 0.2 }'},
            ["pruners[0].arguments.rat: no such parameter of 'imp'; did you mean 'rate'? known: rate, rewind_to"],
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
        (
            with_controls('{ name = "transfer", found_on = "minst" }'),
            ["controls[0].found_on.name: no dataset 'minst'; did you mean 'mnist'? known: cifar10, "],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\ncontrols = [{ name = "transfer", found_on = { parquet = 3 } }]'},
            ["pruners[0].controls[0].found_on.arguments.path:", "valid string", "found: 3"],
        ),
        (
            with_controls('"redraw", { name = "transfer", found_with = "s" }'),
            ["controls[1].found_with: no recipe 's'; known: early_bird_cifar, ", "in this suite: r"],
        ),
        (
            with_controls('{ name = "transfer", found = "mnist" }'),
            ["controls[0].found: no such key here; did you mean 'found_on'? known: name, arguments, found_on"],
        ),
        (
            with_controls('{ name = "transfer", arguments = { found_on = "mnist" } }'),
            ["controls[0].arguments.found_on: no such parameter of 'transfer'; known: none"],
        ),
        (
            with_controls('{ name = "sign", arguments = { magnitudes = "small" } }'),
            ["controls[0].arguments.magnitudes: ", "'constant' or 'redrawn'", "found: 'small'"],
        ),
        (
            with_controls('{ name = "transfer", found_on = "digits" }'),
            ["controls[0]: its tickets are found where they are trained; name another data set or recipe, or leave"],
        ),
        (
            with_controls('{ name = "transfer", found_with = "same" }', SAME),
            ["controls[0]: its tickets are found where"],
        ),
        (
            with_controls('{ name = "invert", found_on = "mnist" }'),
            ["controls[0]: 'invert' searches anew where it is trained and reads no ticket; leave found_on"],
        ),
        (
            with_controls('"redraw", { name = "redraw" }'),
            ["the same experiment is asked for twice: IMP, redraw, LeNet-300-100 on"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\nsparsities = [0.0]\ncontrols = ["redraw"]'},
            ["pruners[0].controls: at sparsity 0 nothing is pruned that a control could change"],
        ),
        ({"recipes": GOOD["recipes"] + "\ntransforms = { scale = [nan, 1.0] }"}, ["recipes.r", "not JSON compliant"]),
        ({"recipes": GOOD["recipes"] + '\nschedule = "step"'}, ["recipes.r: schedule 'step' needs milestones"]),
        ({"datasets": "datasets = [{ parquet = 3 }]"}, ["datasets[0].arguments.path:", "valid string", "found: 3"]),
        (
            {"datasets": 'datasets = [{ name = "parquet", arguments = { path = "x", size = 3 } }]'},
            ["datasets[0].arguments.size: no such parameter of 'parquet'; known: path, validation"],
        ),
        ({"datasets": 'datasets = ["parquet"]'}, ["datasets[0].arguments.path: this key is needed"]),
        ({"datasets": 'datasets = [{ digits = "x" }]'}, ["arguments.path: the data set 'digits' takes no arguments"]),
        (
            {"models": 'models = [{ name = "resnet18", arguments = { stem = "tiny" } }]'},
            ["models[0].arguments.stem:", "'own' or 'cifar'", "found: 'tiny'"],
        ),
        (
            {"models": 'models = [{ name = "resnet18", arguments = { keep = ["last"] } }]'},
            ["models[0].arguments.keep[0]:", "'first', 'output' or 'depthwise'"],
        ),
        (
            {"models": 'models = [{ name = "resnet18", arguments = { layer_scale = -1.0 } }]'},
            ["models[0].arguments", "layer_scale must be a finite number above 0, found -1.0"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\nlable = "x"'},
            ["pruners[0].lable: no such key here; did you mean 'label'? known: name, arguments, label, recipe, models"],
        ),
        (
            {"seeds": "seeds = [0]\nsparsity = [0.5]"},
            ["sparsity: no such key here; did you mean 'sparsities'? known: title, description, models"],
        ),
        (
            {"models": 'models = [{ name = "resnet18", argument = {} }]'},
            ["models[0].argument: no such key here; did you mean 'arguments'? known: name, arguments"],
        ),
        ({"datasets": 'datasets = [{ images = "x", path = "y" }]'}, ["datasets[0]: the path stands there twice"]),
        (
            {"datasets": 'datasets = [{ images = "x", validaton = 3 }]'},
            ["datasets[0].arguments.validaton: no such parameter of 'images'; did you mean 'validation'? known: path"],
        ),
        ({"datasets": "datasets = [{ arguments = {} }]"}, ["datasets[0].name: this key is needed"]),
        (
            {"pruners": '[[pruners]]\nname = "imp"\nrecipe = "x"'},
            ["pruners[0].recipe: no recipe 'x'; known: early_bird_cifar, ", "in this suite: r"],
        ),
        (
            {"pruners": '[[pruners]]\nname = "imp"\nmodels = ["lenet_300_100", "lenet_5"]'},
            ["pruners[0].models: 'lenet_5' is not a model of this suite; those are lenet_300_100"],
        ),
        ({"pruners": '[[pruners]]\nname = "imp"\nmodels = []'}, ["pruners[0].models:", "at least 1 item"]),
        (
            {"recipe": 'recipe = "long"', "recipes": GOOD["recipes"].replace("r]", "longer]")},
            ["recipe: no recipe 'long'; known: early_bird_cifar, ", "; did you mean 'longer'? in this suite: longer"],
        ),
        (
            {"recipes": GOOD["recipes"] + "\nlearning_rates = 0.1"},
            ["recipes.r.learning_rates: no such field; did you mean 'learning_rate'? known: like, duration"],
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
    recipes = GOOD["recipes"].replace("[recipes.r]", "[recipes.slow]") + '\n[recipes.r]\nlike = "slow"\nbatch_size = 20'
    found = planned(tmp_path, recipes=recipes)[0].experiment.recipe
    assert (found.duration, found.batch_size, found.learning_rate) == ("1ep", 20, 0.1)


def test_a_pruner_may_be_for_some_of_the_models(tmp_path):
    models = 'models = ["lenet_5", "lenet_300_100"]'
    pruners = GOOD["pruners"] + '\nmodels = ["lenet_5"]'
    seen = [(item.experiment.model.name, item.label) for item in planned(tmp_path, models=models, pruners=pruners)]
    small = [("lenet_5", label) for label in ("dense", "IMP", "IMP, redraw")]
    assert set(seen) == {*small, ("lenet_300_100", "dense")}


def test_adapter_options_at_their_default_change_no_key(tmp_path):
    def arguments(text):
        items = planned(tmp_path, models=f'models = [{{ name = "resnet18", arguments = {{ {text} }} }}]')
        return items[0].experiment.model.arguments

    assert arguments('stem = "own", zero_init_head = true, keep = []') == {}
    assert arguments("zero_init_last = true") == {"zero_init_last": True}, "this is timm's own option"
    assert arguments('keep = ["output", "first", "first"], in_chans = 4') == {
        "keep": ["first", "output"],
        "in_chans": 4,
    }
    assert planned(tmp_path, models='models = [{ name = "x", arguments = { layer_scale = 1 } }]')[0].experiment.key == (
        planned(tmp_path, models='models = [{ name = "x", arguments = { layer_scale = 1.0 } }]')[0].experiment.key
    )
    assert arguments("zero_init_last = false, patch_size = 4") == {"zero_init_last": False, "patch_size": 4}


def test_a_data_set_with_a_path_has_a_short_form(tmp_path):
    short, long = (
        planned(tmp_path, datasets=f"datasets = [{text}]")[0].experiment
        for text in ('{ parquet = "x" }', '{ name = "parquet", arguments = { path = "x", label = "label" } }')
    )
    assert short.dataset == long.dataset and short.key == long.key and short.dataset.arguments == {"path": "x"}


@pytest.mark.parametrize("short", ['{ images = "x", validation = 200 }', '{ validation = 200, images = "x" }'])
def test_the_short_form_takes_further_arguments_in_any_order(tmp_path, short):
    (first, *_) = planned(tmp_path, datasets=f"datasets = [{short}]")
    assert first.experiment.dataset == Choice("images", {"path": "x", "validation": 200})


def test_all_faults_are_listed_at_once(tmp_path):
    pruners = '[[pruners]]\nname = "snp"\n[[pruners]]\nname = "imp"\narguments = { rat = 1, output_rate = "x" }'
    found = faults(tmp_path, pruners=pruners, seeds="seeds = [1, 1]", recipe='recipe = "x"').splitlines()
    assert len(found) == 5, found


def test_a_suite_is_named_as_it_is_registered_and_by_its_file_otherwise(tmp_path):
    plugins, provider = load_plugins(), Provider("a", "b", "c", "d")
    for name in ("one", "other"):
        path = tmp_path / name / "suite.toml"
        path.parent.mkdir()
        path.write_text("\n".join((GOOD | {"title": f'title = "{name}"'}).values()))
        plugins.suites.add(name, path, provider)
    directories = [select(name, None, plugins).directory for name in ("one", "other")]
    assert directories == [Path("runs/one"), Path("runs/other")]
    named = {name: content.title for name, content in (read_suite(name, plugins) for name in ("one", "other"))}
    assert named == {"one": "one", "other": "other"}
    assert read_suite(str(tmp_path / "one" / "suite.toml"), plugins)[0] == "suite"


def test_a_suite_that_is_not_there_is_named():
    with pytest.raises(SuiteError, match=r"no suite 'quickstar'; did you mean 'quickstart'. known: .*quickstart"):
        read_suite("quickstar", PLUGINS)
    with pytest.raises(SuiteError, match=r"cannot read the suite file nowhere\.toml"):
        read_suite("nowhere.toml", PLUGINS)


def test_patterns_and_sequels_are_targets_and_endings_of_every_method(tmp_path):
    pruners = '[[pruners]]\nname = "dense"\nsparsities = [0]\n[[pruners]]\nname = "magnitude"\ncontrols = ["redraw"]'
    sparsities = 'sparsities = [0.5, "2:4"]\nafter = ["nothing", "batch_norm", "other"]'
    recipes = "\n".join([GOOD["recipes"], OTHER])
    items = planned(tmp_path, pruners=pruners, sparsities=sparsities, recipes=recipes, seeds="seeds = [0]")
    seen = [(item.label, item.experiment.sparsity, item.experiment.pattern) for item in items]
    endings = ("", ", batch norm recalibrated", ", then other")
    half, first = [(f"magnitude{end}", 0.5, "") for end in endings], [(f"dense{end}", 0.0, "") for end in endings]
    pattern = [(f"magnitude, 2:4{end}", 0.5, "2:4") for end in endings]
    assert seen == [*first, half[0], ("magnitude, redraw", 0.5, ""), *half[1:], *pattern]
    recipe = items[2].experiment.after.recipe
    assert items[1].experiment.after.batch_norm and recipe and recipe.duration == "2ep"
    assert {item.recipe for item in items} == {"r"} and len({item.experiment.key for item in items}) == len(items)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sparsities": 'sparsities = ["4:2"]'}, "sparsities[0]: a pattern reads '2:4', for 2 weights kept of every 4"),
        ({"sparsities": 'sparsities = ["2:4", "2:4"]'}, "sparsities: '2:4' stands there 2 times"),
        ({"sparsities": "sparsities = [true]"}, "sparsities[0]: Input should be a valid number"),
        (
            {"recipe": 'recipe = "r"\nafter = ["batchnorm"]'},
            "after ('nothing', 'batch_norm' or a recipe): no recipe 'batchnorm'",
        ),
        ({"recipe": 'recipe = "r"\nafter = []'}, "after: List should have at least 1 item"),
    ],
)
def test_bad_patterns_and_sequels_are_told(tmp_path, changes, words):
    assert words in faults(tmp_path, **changes)


CLAIM = """
[[claims]]
text = "tickets win"
left = { method = "IMP", sparsity = 0.9 }
relation = ">"
right = { method = "IMP", control = "redraw", sparsity = 0.9 }
"""


def test_claims_change_no_experiment(tmp_path):
    assert planned(tmp_path, pruners=GOOD["pruners"] + CLAIM) == planned(tmp_path)


@pytest.mark.parametrize("name", ["lenet_300_100", "LeNet-300-100"])
def test_claims_may_name_a_model_as_the_suite_or_as_tables_do(tmp_path, name):
    claim = CLAIM.replace("text", f'model = "{name}"\ntext', 1)
    assert planned(tmp_path, pruners=GOOD["pruners"] + claim) == planned(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'method = "IMP", sparsity',
            'method = "IPM", sparsity',
            "claims[0].left: no row 'IPM' in this suite; did you mean 'IMP'? there are: dense; IMP; IMP, redraw",
        ),
        (
            '"IMP", control = "redraw"',
            '"IMP", control = "sign"',
            "claims[0].right: no row 'IMP with the control sign'",
        ),
        (
            "sparsity = 0.9 }\nrel",
            "sparsity = 0.8 }\nrel",
            "claims[0].left.sparsity: 'IMP' is not asked for at 0.8, but at 0.5, 0.9",
        ),
        (
            ", sparsity = 0.9 }\nrel",
            " }\nrel",
            "claims[0].left.sparsity: 'IMP' has several sparsities; choose one of 0.5, 0.9",
        ),
        (
            "text",
            'model = "lenet_5"\ntext',
            "claims[0].left.model: 'lenet_5' is not a model of this suite; did you mean 'lenet_300_100'?",
        ),
        ("text", 'metric = "accurracy"\ntext', "claims[0].metric: no number 'accurracy'; did you mean 'accuracy'?"),
        ("text", 'analysis = "sings"\ntext', "claims[0].analysis: no analysis 'sings'"),
        ("text", 'analysis = "signs"\ntext', "claims[0].metric: 'signs' finds no 'accuracy', but agreement"),
        ("text", 'where = { layer = "all" }\ntext', "claims[0].where: it chooses among the rows of an analysis"),
        ("text", "colour = 1\ntext", "claims[0].colour: no such key"),
        ('">"', '"more than"', "claims[0].relation"),
    ],
)
def test_claims_about_what_the_suite_does_not_have(tmp_path, old, new, words):
    assert words in faults(tmp_path, pruners=GOOD["pruners"] + CLAIM.replace(old, new, 1))
