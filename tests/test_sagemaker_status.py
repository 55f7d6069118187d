"""`motrail sagemaker status`, and what the account may use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from commands import Call, caller
from motrail.errors import ConfigError
from motrail.sagemaker import aws
from motrail.sagemaker.quotas import check_quota, find_quota
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.admin import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    LABELING,
    PROCESSING,
    TRAINING,
    TUNING,
)
from motrail.sagemaker.status import Alive, Instances, Prices, survey
from sagemaker_fake import Account, Fake

if TYPE_CHECKING:
    from pathlib import Path

# Prices made up for these tests.
PRICES = {
    ("ml.g6.xlarge", "Hosting"): "1.25",
    ("ml.g6.xlarge", "Processing"): "1.5",
    ("ml.g5.2xlarge", "Training"): "2",
}


def entry(instance: str, component: str, dollars: str, unit: str = "Hrs") -> str:
    """An entry of the price list, with the parts that are looked at."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": dollars}}
    return json.dumps(
        {
            "product": {"attributes": {"instanceName": instance, "component": component}},
            "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}},
        }
    )


def price_list(given: dict[str, Any]) -> dict[str, Any]:
    wanted = {each["Field"]: each["Value"] for each in given["Filters"]}
    assert wanted["regionCode"] == "eu-west-1"
    return {
        "PriceList": [
            entry(instance, component, dollars)
            for (instance, component), dollars in PRICES.items()
            if instance == wanted["instanceName"]
        ]
    }


@pytest.fixture
def account() -> Account:
    made = Account()
    made.plant("GetProducts", price_list)
    return made


def endpoint(account: Account, name: str, variant: dict[str, Any], **now: Any) -> None:
    planned = [{"VariantName": "main", **variant}]
    account.add(ENDPOINT_CONFIG, f"{name}-config", ProductionVariants=planned)
    variants = [{"VariantName": "main", **now}] if now else []
    account.add(
        ENDPOINT,
        name,
        "InService",
        EndpointConfigName=f"{name}-config",
        ProductionVariants=variants,
    )


# What lives --------------------------------------------------------------------------------------


def test_endpoints_cost_by_instances_and_serverless_ones_by_use(account: Account) -> None:
    gpu = {"InstanceType": "ml.g6.xlarge"}
    endpoint(account, "live", gpu, CurrentInstanceCount=2)
    endpoint(account, "asleep", gpu, CurrentInstanceCount=0)
    endpoint(account, "small", {"ServerlessConfig": {}}, CurrentServerlessConfig={})
    endpoint(account, "begun", gpu)
    account.add(ENDPOINT, "theirs", "InService", "another")
    alive, trouble = survey(account, "motrail")
    assert trouble is None
    assert alive == [
        Alive("endpoint", "live", "InService", (Instances("ml.g6.xlarge", 2),), "", 2.5),
        Alive("endpoint", "asleep", "InService", (Instances("ml.g6.xlarge", 0),), "", 0.0),
        Alive("endpoint", "small", "InService", (), "serverless: costs by use", 0.0),
        Alive("endpoint", "begun", "InService", (), "no instance yet", 0.0),
    ]
    assert len(account.sent("GetProducts")) == 1  # the list is asked once for each type


def test_jobs_in_progress(account: Account) -> None:
    asked = {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 3}
    account.add(TRAINING, "t", "InProgress", SecondaryStatus="Training", ResourceConfig=asked,
                EnableManagedSpotTraining=True)  # fmt: skip
    account.add(TRAINING, "over", "Completed", ResourceConfig=asked)
    account.add(PROCESSING, "p", "Stopping", ProcessingResources={
        "ClusterConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 2}})  # fmt: skip
    account.add(TUNING, "hp", "InProgress")
    account.add(LABELING, "l", "Initializing")
    alive, _ = survey(account, "motrail")
    assert alive == [
        Alive("tuning job", "hp", "InProgress", (), "see its training jobs", 0.0),
        Alive("training job", "t", "Training", (Instances("ml.g5.2xlarge", 3),),
              "spot: less than this", 6.0),
        Alive("processing job", "p", "Stopping", (Instances("ml.g6.xlarge", 2),), "", 3.0),
        Alive("labeling job", "l", "Initializing", (), "workers and objects cost", 0.0),
    ]  # fmt: skip


def test_what_ends_while_it_is_looked_at_does_not_live(account: Account) -> None:
    endpoint(account, "live", {"InstanceType": "ml.g6.xlarge"}, CurrentInstanceCount=1)
    account.add(PROCESSING, "p", "InProgress")
    account.plant("DescribeEndpoint", CloudError("Could not find it", code="ValidationException"))
    assert [item.name for item in survey(account, "motrail")[0]] == ["p"]
    account.plant("DescribeEndpoint", CloudError("not authorized", code="AccessDeniedException"))
    with pytest.raises(CloudError, match="not authorized"):
        survey(account, "motrail")


@pytest.mark.parametrize(
    ("asked", "instances", "dollars"),
    [
        (
            {"SelectedInstanceType": "ml.g5.2xlarge", "SelectedInstanceCount": 2,
             "InstancePreferences": [{"InstanceType": "ml.g6e.2xlarge", "InstanceCount": 2}]},
            (Instances("ml.g5.2xlarge", 2),), 4.0,
        ),
        (
            {"InstancePreferences": [{"InstanceType": "ml.g5.2xlarge", "InstanceCount": 2}]},
            (Instances("ml.g5.2xlarge", None),), None,
        ),
        ({"InstanceType": "ml.p5.48xlarge", "InstanceCount": 1},
         (Instances("ml.p5.48xlarge", 1),), None),
    ],
)  # fmt: skip
def test_a_cost_that_is_not_known_is_not_made_up(
    account: Account, asked: dict[str, Any], instances: tuple[Instances, ...], dollars: float | None
) -> None:
    account.add(TRAINING, "t", "InProgress", ResourceConfig=asked)
    ((alive,), _) = survey(account, "motrail")
    assert (alive.instances, alive.dollars) == (instances, dollars)


# Prices ------------------------------------------------------------------------------------------


def test_prices_that_are_not_clear_are_not_known() -> None:
    def price(*entries: str) -> float | None:
        cloud = Fake()
        cloud.plant("GetProducts", {"PriceList": list(entries)})
        return Prices(cloud).an_hour("ml.g6.xlarge", "Hosting")

    one = entry("ml.g6.xlarge", "Hosting", "1.25")
    assert price(one) == 1.25
    assert price(one, one) == 1.25
    assert price(one, entry("ml.g6.xlarge", "Training", "9")) == 1.25
    assert price(one, entry("ml.g6.xlarge", "Hosting", "1.5")) is None
    assert price(entry("ml.g6.xlarge", "Hosting", "1.25", unit="Seconds")) is None
    assert price(json.dumps({"product": {}})) is None
    assert price() is None


def test_a_price_list_that_may_not_be_asked_is_asked_once() -> None:
    cloud = Fake()
    cloud.plant("GetProducts", CloudError("not authorized", code="AccessDeniedException"))
    prices = Prices(cloud)
    assert prices.an_hour("ml.g6.xlarge", "Hosting") is None
    assert prices.an_hour("ml.g5.xlarge", "Hosting") is None
    assert prices.trouble == "not authorized"
    assert len(cloud.calls) == 1


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(capsys, "sagemaker", "status")


def test_the_table(call: Call, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "Aws", lambda **_options: account)
    endpoint(account, "live", {"InstanceType": "ml.g6.xlarge"}, CurrentInstanceCount=2)
    unknown = {"InstanceType": "ml.p5.48xlarge", "InstanceCount": 1}
    account.add(TRAINING, "t", "InProgress", ResourceConfig=unknown)
    result = call()
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[1] == ["endpoint", "live", "InService", "2", "×", "ml.g6.xlarge", "2.50"]
    assert lines[2] == ["training", "job", "t", "InProgress", "1", "×", "ml.p5.48xlarge", "unknown"]
    assert result.out.splitlines()[-1] == "about $2.50 an hour, and 1 of unknown cost"
    document = json.loads(call("--json").out)
    assert (document["dollars_an_hour"], document["unknown"]) == (2.5, 1)
    assert document["alive"][0]["instances"] == [{"type": "ml.g6.xlarge", "count": 2}]


def test_trouble_with_prices_is_told(
    call: Call, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "Aws", lambda **_options: account)
    account.plant("GetProducts", CloudError("not authorized", code="AccessDeniedException"))
    endpoint(account, "live", {"InstanceType": "ml.g6.xlarge"}, CurrentInstanceCount=2)
    result = call()
    assert result.code == 0
    assert result.err == "note: prices are not known: not authorized\n"
    assert "about $0.00 an hour, and 1 of unknown cost" in result.out


def test_nothing_lives(call: Call, tmp_path: Path) -> None:
    result = call("--rehearse", tmp_path / "r", "--stack", "mine")
    assert (result.code, result.out) == (0, "nothing of 'mine' lives in eu-west-1\n")


# Quotas ------------------------------------------------------------------------------------------


def quota(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"QuotaName": name, "QuotaCode": "L-1A2B3C4D", "Value": value} | more


@pytest.fixture
def quotas() -> Fake:
    made = Fake()
    pages = (
        {"Quotas": [quota("ml.g5.2xlarge for endpoint usage", 4.0)], "NextToken": "2"},
        {"Quotas": [quota("ml.g5.2xlarge for spot training job usage", 0.0, Adjustable=True),
                    quota("ml.p5.48xlarge for training job usage", 0.0, Adjustable=False)]},
    )  # fmt: skip
    made.plant("ListServiceQuotas", lambda given: pages["NextToken" in given])
    return made


def test_a_quota_is_found_by_its_name(quotas: Fake) -> None:
    found = find_quota(quotas, "ml.g5.2xlarge", "spot training")
    assert found == ("ml.g5.2xlarge for spot training job usage", "L-1A2B3C4D", 0.0, True)
    assert find_quota(quotas, "ml.g5.2xlarge", "processing") is None


def test_too_small_a_quota_comes_with_the_request_for_more(quotas: Fake) -> None:
    with pytest.raises(ConfigError) as caught:
        check_quota(quotas, "ml.g5.2xlarge", "spot training", 2)
    assert str(caught.value) == (
        "ml.g5.2xlarge for spot training job usage: this account may use 0 at a time in eu-west-1, "
        "and 2 are needed; ask for more: aws service-quotas request-service-quota-increase "
        "--service-code sagemaker --quota-code L-1A2B3C4D --desired-value 2 --region eu-west-1 (it "
        "may take days)"
    )
    with pytest.raises(ConfigError, match="AWS does not raise this one; choose another instance"):
        check_quota(quotas, "ml.p5.48xlarge", "training")
    with pytest.raises(
        ConfigError, match="use of instances: expected one of training, .*'hosting'"
    ):
        check_quota(quotas, "ml.p5.48xlarge", "hosting")  # type: ignore[arg-type]


def test_what_is_enough_or_not_known_is_not_in_the_way(quotas: Fake) -> None:
    assert check_quota(quotas, "ml.g5.2xlarge", "endpoint", 4) is not None
    with pytest.raises(ConfigError, match="may use 4 at a time in eu-west-1, and 5 are needed"):
        check_quota(quotas, "ml.g5.2xlarge", "endpoint", 5)
    assert check_quota(quotas, "ml.g5.2xlarge", "processing", 99) is None
    quotas.plant("ListServiceQuotas", CloudError("no", code="AccessDeniedException"))
    assert check_quota(quotas, "ml.g5.2xlarge", "endpoint") is None
    quotas.plant("ListServiceQuotas", CloudError("slow down", code="TooManyRequestsException"))
    with pytest.raises(CloudError, match="slow down"):
        check_quota(quotas, "ml.g5.2xlarge", "endpoint")
