"""What a rule's definition says, and what changed between two."""

import json

import pytest

from marl_bench.errors import ConfigError, RecordError
from marl_bench.planning import plan_rule
from marl_bench.records import RunRecord
from marl_bench.rules.definitions import describe_rule, differences, read_definition


def _record(folder, rule, version, digest):
    arm = {"label": "an arm", "rule": rule, "rule_version": version, "rule_hash": digest}
    record = RunRecord("x", "complete", {}, arm, 0, "hash", {})
    (folder / "record.json").write_text(json.dumps(record.to_json()))
    return str(folder / "record.json")


def test_two_texts_of_one_rule_do_not_differ(registry):
    assert differences(plan_rule("fixed", registry), plan_rule("fixed(5)", registry)) == []


def test_a_changed_parameter_changes_parameter_and_hash(registry):
    first, second = plan_rule("fixed(5)", registry), plan_rule("fixed(3)", registry)
    assert differences(first, second) == [("parameter n", "5", "3"), ("hash", first.hash, second.hash)]


def test_another_rule_differs_in_id_and_has_no_such_parameter(registry):
    rows = differences(plan_rule("fixed(5)", registry), plan_rule("whole", registry))
    assert rows[:2] == [("id", "fixed", "whole"), ("parameter n", "5", "–")]


def test_a_stored_definition_shows_that_the_version_has_changed(registry, tmp_path):
    path = _record(tmp_path, "fixed(n=5)", "0", "0123456789ab")
    now = read_definition("fixed(n=5)", registry)
    assert differences(read_definition(path, registry), now) == [
        ("version", "0", "1"),
        ("hash", "0123456789ab", now.hash),
    ]


def test_a_missing_record_and_one_without_a_rule_are_clear_errors(registry, tmp_path):
    with pytest.raises(RecordError, match="no record of a cell there"):
        read_definition(str(tmp_path / "record.json"), registry)
    with pytest.raises(ConfigError, match="an arm has no termination rule"):
        read_definition(_record(tmp_path, None, None, None), registry)


def test_a_rule_is_described_with_the_meaning_of_its_parameters(registry):
    rows = dict(describe_rule(plan_rule("perplexity(rule=token)", registry), registry))
    assert rows["rule"] == "perplexity(rule=token)"
    assert rows["parameter rule"].startswith("token  (what a token's NLL is compared with")
    assert rows["parameter rule"].endswith("default macro)")
    assert (rows["reads"], rows["macro length"]) == ("ref_logprobs", "depends on the response")
    assert dict(describe_rule(plan_rule("whole", registry), registry))["macro length"] == "inf tokens"
