"""Requests are held against the service's model and our rules before anything is sent."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from motrail.errors import ConfigError, MissingExtraError
from motrail.sagemaker.request import Request
from motrail.sagemaker.rules import RULES, check
from motrail.sagemaker.rules import model as model_module
from motrail.sagemaker.rules.labeling import check_audit
from motrail.sagemaker.rules.patterns import matches, understood
from sagemaker_changes import (
    ALARM,
    ALGORITHM,
    ASYNC,
    CALL,
    CHANGES,
    GONE,
    KEY,
    LOGARITHMIC,
    SOURCE,
    SPOT_WAIT,
    TRACK,
    TUNE,
    VARIANT,
    D,
    H,
    L,
    M,
    P,
    R,
    S,
    T,
)
from sagemaker_valid import ACCOUNT, BUCKET, names, valid


def _changed(name: str, path: str, value: object) -> Request:
    request = valid(name)
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    place: Any = request.parameters
    for part in way:
        place = place[part]
    if value is GONE:
        del place[last]
    elif callable(value):
        place[last] = value(place[last])
    else:
        place[last] = value
    return request


@pytest.mark.parametrize("name", names())
def test_what_is_right_passes(name: str) -> None:
    check(valid(name))


@pytest.mark.parametrize(("name", "path", "value", "rule", "says"), CHANGES)
def test_what_is_wrong_is_refused_with_the_rule_it_breaks(
    name: str, path: str, value: object, rule: str, says: str
) -> None:
    request = _changed(name, path, value)
    with pytest.raises(ConfigError) as caught:
        check(request)
    message = str(caught.value)
    assert message.startswith(f"{request.service} {request.operation}: ")
    assert f"[rule {rule}]" in message
    assert says in message


def test_every_rule_is_broken_above_and_says_where_it_stands_written() -> None:
    named = {rule.name for rule in RULES}
    assert len(named) == len(RULES) > 60
    assert named <= {rule for _, _, _, rule, _ in CHANGES}
    for rule in RULES:
        assert rule.source.startswith((
            "SageMaker", "Our own rule", "Amazon S3", "IAM", "AWS", "CloudFormation",
            "Application Auto Scaling", "CloudWatch",
        )), rule.name  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        (T, "TrainingJobName", "x" * 63),
        (T, SPOT_WAIT, 3600),
        (D, "StoppingCondition/MaxRuntimeInSeconds", 28 * 86_400),
        (T, f"{ALGORITHM}/MetricDefinitions/0/Regex", f"({'a' * 498})"),
        (T, f"{ALGORITHM}/TrainingImage", f"registry:5000/a/b@sha256:{'0' * 64}"),
        (T, "RoleArn", f"arn:aws-cn:iam::{ACCOUNT}:role/service-role/{'r' * 64}"),
        (T, f"{SOURCE}/S3Uri", "s3://a.b-1/with spaces/ä/é"),
        (T, f"{SOURCE}/S3Uri", BUCKET),
        (H, f"{LOGARITHMIC}/MaxValue", "1e-3"),
        (H, "HyperParameterTuningJobName", "x" * 32),
        (R, "ProductionVariants/1/InitialVariantWeight", 0.0),
        (R, f"{VARIANT}/InferenceAmiVersion", "al2-ami-sagemaker-inference-gpu-3-1"),
        (R, "Tags/1/Value", "12.2"),
        (S, f"{VARIANT}/ServerlessConfig/MemorySizeInMB", 6144),
        (CALL, "Body", b"x" * (25 * 1024 * 1024)),
        (CALL, "Body", b""),
        (CALL, "SessionId", "0-a" * 85),
        (ASYNC, "RequestTTLSeconds", 3600),
        (ALARM, "EvaluationPeriods", 1440),
        (P, "StoppingCondition/MaxRuntimeInSeconds", 1),
    ],
)
def test_what_is_just_inside_passes(name: str, path: str, value: object) -> None:
    check(_changed(name, path, value))


def _places(value: Any, path: str = "") -> list[str]:
    """All members of dicts, in dicts and lists."""
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            found += [f"{path}{key}", *_places(item, f"{path}{key}/")]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _places(item, f"{path}{index}/")
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_value_of_another_type_is_refused_wherever_it_stands(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    name = draw.choice([name for name in names() if valid(name).parameters])
    path = draw.choice(_places(valid(name).parameters))
    for wrong in (None, object()):
        with pytest.raises(ConfigError, match=r"\[rule type\]"):
            check(_changed(name, path, wrong))


@pytest.mark.parametrize("seed", range(30))
def test_an_unknown_member_is_refused_wherever_it_stands(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    name = draw.choice([T, H, L, M, R, P, TRACK, ALARM, ASYNC])
    maps = ("HyperParameters", "Environment", "StaticHyperParameters")
    parameters = valid(name).parameters
    inside = [
        path
        for path in _places(parameters)
        if path.count("/") and not any(part in path for part in maps)
    ]
    path = draw.choice(["x/Bogus", *inside]).rpartition("/")[0]
    where = f"{path}/Bogus" if path != "x" else "Bogus"
    with pytest.raises(ConfigError, match=r"Bogus.*\[rule unknown-member\]"):
        check(_changed(name, where, "x"))


def test_several_broken_rules_are_all_named_up_to_five() -> None:
    request = valid(T)
    request.parameters["TrainingJobName"] = "x" * 64
    request.parameters["StoppingCondition"]["MaxWaitTimeInSeconds"] = 60
    with pytest.raises(ConfigError, match=r"\[rule length\]; .*\[rule max-wait\]$"):
        check(request)
    request.parameters["Tags"] = [{"Key": "k" * 129, "Value": ""} for _ in range(6)]
    with pytest.raises(ConfigError, match=r"and [0-9]+ more$") as caught:
        check(request)
    assert str(caught.value).count("[rule ") == 5


def test_the_message_is_as_the_page_says() -> None:
    with pytest.raises(ConfigError) as caught:
        check(_changed(T, SPOT_WAIT, 60))
    assert str(caught.value) == (
        "sagemaker CreateTrainingJob: StoppingCondition.MaxWaitTimeInSeconds: expected at least "
        "MaxRuntimeInSeconds (3600), found 60 [rule max-wait]"
    )


def test_a_request_is_not_changed() -> None:
    for name in names():
        request = valid(name)
        check(request)
        assert request == valid(name)


def test_messages_have_no_account_ids_and_no_secrets() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:user/{KEY}"
    with pytest.raises(ConfigError) as caught:
        check(_changed(T, "RoleArn", role))
    assert ACCOUNT not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_key_is_not_shown_by_halves() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105
    for before in range(50, 320, 7):
        with pytest.raises(ConfigError) as caught:
            check(_changed(T, "TrainingJobName", f"{'- ' * (before // 2)}{secret} {'x' * 50}"))
        assert secret[:12] not in str(caught.value)


ODD: list[object] = [
    None, 0, -1, 2**80, 1.5, float("inf"), "", "x" * 5000, "\x00", "é😀", "[", b"x", [], {}, [None],
    [[]], {"a": 1}, {1: 2}, (1,), True, object(), {1}, "s3://abc", "ml.g6.xlarge", ["a", "a"], [{}],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_nonsense_is_refused_or_right_and_never_a_crash(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    refused = []
    for _ in range(40):
        name = draw.choice([name for name in names() if valid(name).parameters])
        try:
            check(_changed(name, draw.choice(_places(valid(name).parameters)), draw.choice(ODD)))
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all("[rule " in message and len(message) < 5000 for message in refused)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        check(_changed(T, "Tags", "x" * 100_000))
    assert len(str(caught.value)) < 300


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="'sagemakr': expected a service that boto3 knows"):
        check(Request("sagemakr", "CreateModel", {}))
    with pytest.raises(ConfigError, match=r"CreateModl: .*did you mean 'CreateModel'\?"):
        check(Request("sagemaker", "CreateModl", {}))
    with pytest.raises(ConfigError, match=r"parameters: expected a dict, found \[\]"):
        check(Request("sagemaker", "CreateModel", []))  # type: ignore[arg-type]


def test_an_operation_without_parameters_takes_none() -> None:
    check(Request("sagemaker", "GetSagemakerServicecatalogPortfolioStatus", {}))


def test_botocore_has_a_say_too() -> None:
    request = Request("sagemaker", "ListTrainingJobs", {"CreationTimeAfter": "yesterday, about"})
    with pytest.raises(ConfigError, match=r"Invalid type for parameter .*\[rule botocore\]"):
        check(request)


def test_the_model_of_a_service_is_read_once() -> None:
    check(valid(T))
    before = model_module._service.cache_info()
    check(valid(T))
    check(valid(L))
    after = model_module._service.cache_info()
    assert (after.misses, after.hits > before.hits) == (before.misses, True)


def test_without_botocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model_module._service.cache_clear()
    monkeypatch.setitem(sys.modules, "botocore.loaders", None)
    with pytest.raises(MissingExtraError, match=r'pip install "motrail\[sagemaker\]"'):
        check(valid(T))


def test_an_adjustment_has_labels_of_its_own() -> None:
    check_audit(valid(L), "motrail-label-0-ref")
    with pytest.raises(
        ConfigError, match=r"found 'motrail-label-1-ref' twice \[rule label-audit\]"
    ):
        check_audit(valid(L), "motrail-label-1-ref")


def test_a_grid_of_categories_and_a_band_pass() -> None:
    grid = valid(H)
    config = grid.parameters[TUNE]
    config["Strategy"] = "Grid"
    config["ParameterRanges"] = {
        "CategoricalParameterRanges": config["ParameterRanges"]["CategoricalParameterRanges"]
    }
    check(grid)
    band = valid(H)
    config = band.parameters[TUNE]
    config["Strategy"], config["TrainingJobEarlyStoppingType"] = "Hyperband", "Off"
    check(band)  # it goes by `epochs` of the static hyperparameters
    del band.parameters["TrainingJobDefinition"]["StaticHyperParameters"]["epochs"]
    with pytest.raises(ConfigError, match=r"MaxResource: expected a number, or epochs"):
        check(band)
    config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 10, "MaxResource": 9}}
    with pytest.raises(ConfigError, match=r"expected MinResource \(10\) to 20,000, found 9"):
        check(band)


def test_instances_of_a_tuning_job() -> None:
    request = valid(H)
    job = request.parameters["TrainingJobDefinition"]
    one = job.pop("ResourceConfig")
    job["HyperParameterTuningResourceConfig"] = one
    check(request)
    job["HyperParameterTuningResourceConfig"] = {
        "InstanceConfigs": [one],
        "InstanceType": "ml.c5.xlarge",
    }
    with pytest.raises(
        ConfigError, match=r"either InstanceConfigs or one .*\[rule instance-choice\]"
    ):
        check(request)
    job["HyperParameterTuningResourceConfig"] = {}
    with pytest.raises(ConfigError, match="InstanceConfigs, or InstanceType and InstanceCount"):
        check(request)
    job["ResourceConfig"] = one
    with pytest.raises(ConfigError, match="none beside HyperParameterTuningResourceConfig"):
        check(request)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Fußball 日本 ½", True),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "a*b", False),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "😀", False),
        (r"[\p{L}\p{M}\p{S}\p{N}\p{P}]+", "😀!", True),
        (r"\p{ASCII}*", "plain", True),
        (r"\p{ASCII}*", "é", False),
        (r"\A\S[\p{Print}]*\z", "one two", True),
        (r"\A\S[\p{Print}]*\z", "one\n", False),
        (r"arn:[\p{Alnum}\-]+", "arn:aws-cn", True),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "a😀\n", True),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "\x00", False),
        (r"[\w-_]*", "a-b_c", True),
        (r"\d{2}", "١٢", False),  # Java's digits are ASCII
        ("a", "a\n", False),
    ],
)
def test_patterns_are_read_as_java_reads_them(pattern: str, text: str, fits: bool) -> None:
    assert understood(pattern)
    assert matches(pattern, text) is fits


def test_a_pattern_that_is_none_holds_nothing_against_anyone() -> None:
    pattern = r"([\p{L}]*)${1,128}"  # of SageMaker's own model
    assert not understood(pattern)
    assert matches(pattern, "anything")


def test_all_patterns_of_our_services_are_understood() -> None:
    unknown = []
    for name in ("sagemaker", "sagemaker-runtime", "s3", "sns", "application-autoscaling",
                 "cloudwatch", "cloudformation", "service-quotas", "logs", "sts", "ecr",
                 "pricing", "iam"):  # fmt: skip
        model = model_module._service(name)
        shapes = [model.shape_for(shape) for shape in model.shape_names]
        patterns = {shape.name: shape.metadata.get("pattern") for shape in shapes}
        unknown += [key for key, text in patterns.items() if text and not understood(text)]
    assert unknown == ["CustomerMetadataKey", "CustomerMetadataValue"]
