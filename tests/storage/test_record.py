"""The type of a record: its schema, its page in the documentation, and what lies on disk."""

from __future__ import annotations

import json
import re
from base64 import b64decode

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from lth_bench.errors import FileFault
from lth_bench.hashing import canonical
from lth_bench.storage.answers import Answers
from lth_bench.storage.record import OF_RESULTS, STATUSES, Plan, Record, builtins, decoder, failed, identity
from lth_bench.storage.record import RecordedError as Error
from lth_bench.storage.records import read_plan, read_record, record_path, write_record
from lth_bench.storage.schema import FILE, record_schema, text
from lth_bench.storage.sealed import publish_json, read_json
from support.places import ROOT
from support.records import planned

PUBLISHED = sorted((ROOT / "leaderboards").glob("*/records/*.json"))
PLANS = sorted((ROOT / "leaderboards").glob("*/plan.json"))
PAGE = (ROOT / "docs" / "records.md").read_text().partition("## A record")[2]


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(record_schema())
    return jsonschema.Draft202012Validator(record_schema())


def test_the_schema_that_is_shipped_is_that_of_the_type():
    assert FILE.read_text(encoding="utf-8") == text(), "run python -m lth_bench.storage.schema"


def test_every_published_record_satisfies_the_schema(validator):
    assert len(PUBLISHED) > 700
    for path in PUBLISHED:
        validator.validate(json.loads(path.read_bytes()))


def test_every_published_record_is_written_back_as_it_was():
    for path in PUBLISHED:
        assert canonical(builtins(read_record(path))) == canonical(read_json(path)), path


def test_every_published_plan_is_written_back_as_it_was():
    assert len(PLANS) >= 4
    for path in PLANS:
        content = canonical(read_json(path))
        plan = decoder(Plan).decode(content)
        assert canonical(builtins(plan)) == content
        assert plan.experiments == read_plan(path.parent)


def test_keys_of_published_records_are_those_of_their_experiments():
    for path in PUBLISHED:
        record = read_record(path)
        assert record.experiment.key == record.key == path.stem


@pytest.mark.parametrize("name", OF_RESULTS)
def test_a_result_without_a_part_does_not_satisfy_the_schema(validator, name):
    content = json.loads(PUBLISHED[0].read_bytes())
    assert validator.is_valid(content)
    del content[name]
    assert not validator.is_valid(content)


def test_a_failure_satisfies_the_schema_and_needs_no_more_than_its_error(validator, tmp_path):
    record = failed(identity("made", planned("imp", 0.5, 0)), Error(kind="lost", message="gone", traceback=""))
    write_record(tmp_path, record)
    path = record_path(tmp_path, record.key)
    content = json.loads(path.read_bytes())
    validator.validate(content)
    assert read_record(path) == record and content["error"] == {"kind": "lost", "message": "gone", "traceback": ""}
    assert "sparsity" not in content and content["experiment"]["control"] is None


@given(st.lists(st.booleans(), max_size=40))
def test_answers_are_a_bit_for_each_image(right):
    answers = Answers.of(right)
    assert answers.each() == right
    assert len(b64decode(answers.right)) == -(-len(right) // 8)


def test_answers_of_another_number_of_images_are_refused():
    for images in (0, 7, 8, 17):
        with pytest.raises(ValueError, match=f"2 bytes are not the answers to {images} images"):
            Answers(images, Answers.of([True] * 9).right).each()


def test_the_page_lists_the_fields_of_the_type_and_no_others():
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", PAGE, re.M)
    listed = [name for names, _ in rows for name in re.findall(r"`(.*?)`", names)]
    assert sorted(listed) == sorted([*Record.__struct_fields__, "checksum"])


@pytest.mark.parametrize("field", structs.fields(Record), ids=lambda field: field.name)
def test_the_page_explains_every_part_of_a_field(field):
    (row,) = (row for row in PAGE.splitlines() if re.match(rf"\| [^|]*`{field.name}`[^|]*\|", row))
    names = {part.encode_name for kind in parts(field.type) for part in structs.fields(kind)}
    assert {name for name in names if f"`{name}`" not in row} == set()


def parts(kind):
    """The structs that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return [kind, *(part for field in structs.fields(kind) for part in parts(field.type))]
    return [part for inner in getattr(kind, "__args__", ()) for part in parts(inner)]


def test_the_page_explains_every_status():
    assert all(f"`{status}`" in PAGE for status in STATUSES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment": {}}, r"`dataset` - at `\$\.experiment`"),
        ({"own_recipe": "yes"}, r"`\$\.own_recipe`"),
        ({"curve": {"step": 3}}, r"`\$\.curve\.step`"),
        ({"environment": {}}, r"`python` - at `\$\.environment`"),
        ({"ticket": {"step": 0, "sha256": None}}, r"`\$\.ticket\.sha256`"),
    ],
)
def test_a_field_of_another_kind_is_named_with_what_to_do(tmp_path, change, words):
    path = tmp_path / "records" / PUBLISHED[0].name
    publish_json(path, read_json(PUBLISHED[0]) | change)
    with pytest.raises(FileFault, match=rf"{path.name} does not have the fields of a record: .*{words}; move it away"):
        read_record(path)


def test_an_experiment_that_no_recipe_allows_is_a_fault_of_its_field(tmp_path):
    content = read_json(PUBLISHED[0])
    content["experiment"]["recipe"]["batch_size"] = -1
    path = tmp_path / "records" / PUBLISHED[0].name
    publish_json(path, content)
    with pytest.raises(FileFault, match=r"batch_size must be positive .* - at `\$\.experiment\.recipe`"):
        read_record(path)
