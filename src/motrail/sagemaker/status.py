"""What lives, and roughly what it costs an hour by AWS's own price list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.inventory import gone, owned, running_states
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests.admin import (
    ENDPOINT,
    JOBS,
    PROCESSING,
    TRAINING,
    Kind,
    describe_endpoint,
    describe_endpoint_config,
    describe_job,
    get_prices,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motrail.sagemaker.inventory import Item
    from motrail.sagemaker.request import Cloud

_COMPONENTS = {"endpoint": "Hosting", "training job": "Training", "processing job": "Processing"}
"""What the price list calls the use of an instance by an endpoint or a job."""


@dataclass(frozen=True)
class Instances:
    """Machines of one type.

    Attributes:
        type: As in ml.g6.xlarge.
        count: How many run; None where it is not told.
    """

    type: str
    count: int | None


@dataclass(frozen=True)
class Alive:
    """An endpoint, or a job in progress.

    Attributes:
        kind: As in "training job".
        name: Its name.
        status: As SageMaker says.
        instances: What runs for it; nothing for a tuning job, whose training jobs stand beside it,
            for people who label, and for a serverless endpoint, which costs by use.
        note: What to know of its cost.
        dollars: US dollars an hour by the price list; None where that is not known.
    """

    kind: str
    name: str
    status: str
    instances: tuple[Instances, ...] = ()
    note: str = ""
    dollars: float | None = 0.0


class Prices:
    """AWS's price list, asked once for each instance type.

    Args:
        cloud: Where.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._known: dict[tuple[str, str], float | None] = {}
        self.trouble: str | None = None

    def an_hour(self, instance: str, component: str) -> float | None:
        """US dollars an hour on demand; None where the list does not say it, or not clearly.

        Args:
            instance: As in ml.g6.xlarge.
            component: Hosting, Training or Processing.
        """
        if (instance, component) not in self._known:
            self._known[instance, component] = self._look(instance, component)
        return self._known[instance, component]

    def _look(self, instance: str, component: str) -> float | None:
        if self.trouble is not None:
            return None
        try:
            request = get_prices(self._cloud.region, instance)
            entries = [_loaded(item) for item in self._cloud.pages(request, "PriceList")]
        except CloudError as error:
            self.trouble = str(error)
            return None
        found = {
            dollars
            for entry in entries
            if _component(entry) == component
            for dollars in _hourly(entry)
        }
        return found.pop() if len(found) == 1 else None


def _loaded(item: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(item) if isinstance(item, str) else item
    return loaded


def _component(entry: dict[str, Any]) -> str:
    attributes = entry.get("product", {}).get("attributes", {})
    return str(attributes.get("component") or attributes.get("platoinstancetype") or "")


def _hourly(entry: dict[str, Any]) -> Iterator[float]:
    for term in entry.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            dollars = dimension.get("pricePerUnit", {}).get("USD")
            if str(dimension.get("unit", "")).lower() in ("hrs", "hours", "hour") and dollars:
                yield float(dollars)


def survey(cloud: Cloud, project: str) -> tuple[list[Alive], str | None]:
    """Endpoints and jobs in progress of a project, with their cost.

    Args:
        cloud: Where.
        project: Its name.

    Returns:
        What lives, and why prices are not known if the price list could not be asked.

    Raises:
        CloudError: SageMaker refuses to tell.
    """
    prices = Prices(cloud)
    alive = []
    for kind in (ENDPOINT, *JOBS):
        states = (None,) if kind is ENDPOINT else running_states(kind)
        look = _endpoint if kind is ENDPOINT else _job
        for item in owned(cloud, project, kind, states):
            try:
                alive.append(look(cloud, item, prices))
            except CloudError as error:
                if not gone(error):  # it may end while it is looked at
                    raise
    return alive, prices.trouble


def _endpoint(cloud: Cloud, item: Item, prices: Prices) -> Alive:
    found = cloud.call(describe_endpoint(item.name))
    config = cloud.call(describe_endpoint_config(found["EndpointConfigName"]))
    types = {v["VariantName"]: v.get("InstanceType") for v in config["ProductionVariants"]}
    instances = tuple(
        Instances(str(types[variant["VariantName"]]), variant.get("CurrentInstanceCount"))
        for variant in found.get("ProductionVariants", ())
        if types.get(variant["VariantName"])
    )
    serverless = not any(types.values())
    note = "serverless: costs by use" if serverless else ""
    if not serverless and not found.get("ProductionVariants"):
        note = "no instance yet"
    status = str(found["EndpointStatus"])
    return _alive(item.kind, item.name, status, instances, prices, note)


def _job(cloud: Cloud, item: Item, prices: Prices) -> Alive:
    found = cloud.call(describe_job(item.kind, item.name))
    if item.kind is TRAINING:
        asked = found.get("ResourceConfig", {})
        status = str(found.get("SecondaryStatus") or item.status)
        note = "spot: less than this" if found.get("EnableManagedSpotTraining") else ""
    elif item.kind is PROCESSING:
        asked = found.get("ProcessingResources", {}).get("ClusterConfig", {})
        status, note = item.status, ""
    else:
        notes = {"tuning job": "see its training jobs", "labeling job": "workers and objects cost"}
        return Alive(item.kind.title, item.name, item.status, (), notes[item.kind.title])
    return _alive(item.kind, item.name, status, _machines(asked), prices, note)


def _machines(asked: dict[str, Any]) -> tuple[Instances, ...]:
    """What a job runs on; with preferences, what was chosen of them, if that is known already."""
    if chosen := asked.get("SelectedInstanceType"):
        return (Instances(str(chosen), asked.get("SelectedInstanceCount")),)
    if kind := asked.get("InstanceType"):
        return (Instances(str(kind), asked.get("InstanceCount")),)
    if first := next(iter(asked.get("InstancePreferences", ())), None):
        return (Instances(str(first["InstanceType"]), None),)
    return ()


def _alive(
    kind: Kind,
    name: str,
    status: str,
    instances: tuple[Instances, ...],
    prices: Prices,
    note: str,
) -> Alive:
    each = [_cost(item, _COMPONENTS[kind.title], prices) for item in instances]
    known = [dollars for dollars in each if dollars is not None]
    total = sum(known) if len(known) == len(each) else None
    return Alive(kind.title, name, status, instances, note, total)


def _cost(item: Instances, component: str, prices: Prices) -> float | None:
    if item.count == 0:
        return 0.0
    price = prices.an_hour(item.type, component)
    return None if price is None or item.count is None else price * item.count
