"""Models, endpoint configurations and endpoints."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.fleet import Fleet
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import chosen, invalid, listing, refuse

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.faults import Faults
    from motrail.sagemaker.rehearsal.logs import Logs
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage

_IN_PROGRESS = ("Creating", "Updating", "Deleting", "SystemUpdating", "RollingBack")
_WORDS = {
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
}
_SUMMARY = (
    "EndpointName",
    "EndpointArn",
    "CreationTime",
    "LastModifiedTime",
    "EndpointStatus",
)


class Endpoints:
    """What a rehearsal hosts.

    Args:
        site: Where it runs.
        storage: Where the models' archives are.
        logs: Where containers' output goes.
        faults: Planted trouble.
        tags: Of the resources.
        most: Instances of a variant that are started, however many are asked for.
    """

    def __init__(
        self, site: Site, storage: Storage, logs: Logs, faults: Faults, tags: Tags, most: int
    ) -> None:
        self._site = site
        self._storage = storage
        self._logs = logs
        self._faults = faults
        self._tags = tags
        self._most = most
        self.models = site.shelf("models")
        self.configs = site.shelf("endpoint-configs")
        self.records = site.shelf("endpoints")
        self._fleets: dict[str, Fleet] = {}
        self._starting: dict[str, threading.Lock] = {}
        for record in self.records.values():
            name = record["EndpointName"]
            if record["EndpointStatus"] == "Deleting":
                self.records.remove(name)
            elif record["EndpointStatus"] in _IN_PROGRESS:
                self._site.start(
                    self._raise, name, record.get("Next", record["EndpointConfigName"])
                )

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateModel": self._create_model,
            "DescribeModel": lambda given: self.get("model", given["ModelName"]),
            "DeleteModel": lambda given: self._delete("model", given["ModelName"]),
            "ListModels": self._list_models,
            "CreateEndpointConfig": self._create_config,
            "DescribeEndpointConfig": lambda given: self.get(
                "endpoint-config", given["EndpointConfigName"]
            ),
            "DeleteEndpointConfig": lambda given: self._delete(
                "endpoint-config", given["EndpointConfigName"]
            ),
            "ListEndpointConfigs": self._list_configs,
            "CreateEndpoint": self._create,
            "DescribeEndpoint": self._describe,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._reweigh,
            "DeleteEndpoint": self._delete_endpoint,
            "ListEndpoints": self._list,
        }

    def get(self, kind: str, name: str) -> Record:
        """The record of a model, an `endpoint-config` or an endpoint.

        Raises:
            CloudError: There is none.
        """
        shelf = {"model": self.models, "endpoint-config": self.configs}.get(kind, self.records)
        record = shelf.get(name)
        if record is None:
            invalid(f'Could not find {_WORDS[kind]} "{self._arn(kind, name)}".')
        return record

    def fleet(self, name: str) -> Fleet:
        """What stands behind an endpoint in service; started again if another process left it.

        Raises:
            CloudError: It cannot be started.
        """
        with self._site.lock:
            lock = self._starting.setdefault(name, threading.Lock())
        with lock:
            fleet = self._fleets.get(name)
            if fleet is not None:
                return fleet
            fleet, reason = self._make(name, self.get("endpoint", name)["EndpointConfigName"])
            if fleet is None:
                refuse("ServiceUnavailable", reason)
            self._fleets[name] = fleet
            return fleet

    def close(self) -> None:
        """End all containers; the endpoints stay, and are started again when they are needed."""
        for fleet in list(self._fleets.values()):
            fleet.end()

    def _arn(self, kind: str, name: str) -> str:
        return self._site.arn("sagemaker", f"{kind}/{name}")

    def _new(self, kind: str, name: str, shelf: Any) -> str:
        arn = self._arn(kind, name)
        if name in shelf:
            invalid(f'Cannot create already existing {_WORDS[kind]} "{arn}".')
        return arn

    def _create_model(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            arn = self._new("model", given["ModelName"], self.models)
            containers = [given.get("PrimaryContainer"), *given.get("Containers", ())]
            for container in filter(None, containers):
                uri = container.get("ModelDataUrl")
                if uri is not None and self._storage.find(uri) is None:
                    invalid(f"Could not find model data at {uri}.")
            record = {key: given[key] for key in given if key != "Tags"}
            self.models.put(given["ModelName"], record | {"ModelArn": arn, "CreationTime": now()})
            self._tags.put(arn, given.get("Tags", ()))
        return {"ModelArn": arn}

    def _create_config(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            name = given["EndpointConfigName"]
            arn = self._new("endpoint-config", name, self.configs)
            for variant in given["ProductionVariants"]:
                self.get("model", variant["ModelName"])
            record = {key: given[key] for key in given if key != "Tags"}
            added = {"EndpointConfigArn": arn, "CreationTime": now()}
            self.configs.put(name, record | added)
            self._tags.put(arn, given.get("Tags", ()))
        return {"EndpointConfigArn": arn}

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        name, chosen_config = given["EndpointName"], given["EndpointConfigName"]
        with self._site.lock:
            arn = self._new("endpoint", name, self.records)
            config = self.get("endpoint-config", chosen_config)
            self._check_quota(config)
            time = now()
            record = {
                "EndpointName": name,
                "EndpointArn": arn,
                "EndpointConfigName": chosen_config,
                "EndpointStatus": "Creating",
                "CreationTime": time,
                "LastModifiedTime": time,
            }
            self.records.put(name, record)
            self._tags.put(arn, given.get("Tags", ()))
        self._site.start(self._raise, name, chosen_config)
        return {"EndpointArn": arn}

    def _check_quota(self, config: Record) -> None:
        for variant in config["ProductionVariants"]:
            instance = variant.get("InstanceType")
            if instance is None:
                continue
            used = sum(
                int(each.get("CurrentInstanceCount", 0))
                for record in self.records.values()
                for each in record.get("ProductionVariants", ())
                if each["InstanceType"] == instance
            )
            count = int(variant.get("InitialInstanceCount", 1))
            self._faults.check_quota(instance, "endpoint usage", used, count)

    def _raise(self, name: str, chosen_config: str) -> None:
        """Bring an endpoint, new or not, to a configuration; never raises."""
        fleet, reason = self._make(name, chosen_config)
        with self._site.lock:
            record = self.records.get(name)
            before = self._fleets.get(name)
            if record is None or self._site.ending.is_set():
                before = fleet  # deleted meanwhile, or it is all over
            elif fleet is not None:
                self._fleets[name] = fleet
                self._put_in_service(name, chosen_config, fleet.config)
            else:
                # An update that fails leaves the endpoint as it was.
                status = "InService" if before is not None else "Failed"
                self._settle(name, EndpointStatus=status, FailureReason=reason)
                return
        if before is not None:
            before.end()

    def _make(self, name: str, chosen_config: str) -> tuple[Fleet | None, str]:
        fleet = None
        try:
            config = self.get("endpoint-config", chosen_config)
            for variant in config["ProductionVariants"]:
                if variant.get("InstanceType") in self._faults.no_capacity:
                    return None, (
                        "Unable to provision requested ML compute capacity due to "
                        "InsufficientInstanceCapacity error. Please retry using a different ML "
                        "instance type or after some time."
                    )
            fleet = Fleet(self._site, name, config, self._most)
            reason = fleet.start(self._storage, self._logs, lambda model: self.get("model", model))
        except Exception as error:  # noqa: BLE001  (whatever it is, the endpoint has failed)
            reason = str(error)
        if not reason:
            return fleet, ""
        if fleet is not None:
            fleet.end()
        return None, reason

    def _put_in_service(self, name: str, chosen_config: str, config: Record) -> None:
        variants = []
        for variant in config["ProductionVariants"]:
            weight = float(variant.get("InitialVariantWeight", 1.0))
            described: Record = {
                "VariantName": variant["VariantName"],
                "CurrentWeight": weight,
                "DesiredWeight": weight,
            }
            if "ServerlessConfig" in variant:
                described["CurrentServerlessConfig"] = variant["ServerlessConfig"]
                described["CurrentInstanceCount"] = 0
            else:
                count = int(variant.get("InitialInstanceCount", 1))
                described |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
            described["InstanceType"] = variant.get("InstanceType")  # for the count of usage
            variants.append(described)
        changes: Record = {
            "EndpointStatus": "InService",
            "EndpointConfigName": chosen_config,
            "ProductionVariants": variants,
            "FailureReason": None,
            **chosen(config, ("AsyncInferenceConfig",)),
        }
        capture = config.get("DataCaptureConfig")
        if capture is not None:
            enabled = capture.get("EnableCapture", False)
            changes["DataCaptureConfig"] = {
                "EnableCapture": enabled,
                "CaptureStatus": "Started" if enabled else "Stopped",
                "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
                "DestinationS3Uri": capture["DestinationS3Uri"],
                "KmsKeyId": capture.get("KmsKeyId", ""),
            }
        self._settle(name, **changes)

    def _settle(self, name: str, **changes: Any) -> None:
        record = self.records.get(name)
        if record is None:
            return
        record |= {"LastModifiedTime": now(), **changes}
        record.pop("Next", None)
        self.records.put(name, {key: value for key, value in record.items() if value is not None})

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self.get("endpoint", given["EndpointName"])
        record.pop("Next", None)
        for variant in record.get("ProductionVariants", ()):
            variant.pop("InstanceType", None)
        return record

    def _free(self, name: str) -> Record:
        """The record of an endpoint that nothing is being done to."""
        record = self.get("endpoint", name)
        if record["EndpointStatus"] in _IN_PROGRESS:
            invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        return record

    def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        name, chosen_config = given["EndpointName"], given["EndpointConfigName"]
        with self._site.lock:
            record = self._free(name)
            self.get("endpoint-config", chosen_config)
            self.records.update(
                name, EndpointStatus="Updating", LastModifiedTime=now(), Next=chosen_config
            )
        self._site.start(self._raise, name, chosen_config)
        return {"EndpointArn": record["EndpointArn"]}

    def _reweigh(self, given: dict[str, Any]) -> dict[str, Any]:
        """Weights count at once; a new number of instances is noted, and no more are started."""
        name = given["EndpointName"]
        with self._site.lock:
            record = self._free(name)
            variants = {each["VariantName"]: each for each in record["ProductionVariants"]}
            for wish in given["DesiredWeightsAndCapacities"]:
                variant = variants.get(wish["VariantName"])
                if variant is None:
                    invalid(f'Could not find variant "{wish["VariantName"]}".')
                if "DesiredWeight" in wish:
                    weight = float(wish["DesiredWeight"])
                    variant |= {"CurrentWeight": weight, "DesiredWeight": weight}
                if "DesiredInstanceCount" in wish:
                    count = int(wish["DesiredInstanceCount"])
                    variant |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
            self._settle(name, ProductionVariants=list(variants.values()))
        return {"EndpointArn": record["EndpointArn"]}

    def _delete_endpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["EndpointName"]
        with self._site.lock:
            record = self._free(name)
            fleet = self._fleets.pop(name, None)
            if fleet is None:
                self.records.remove(name)
            else:
                self.records.update(name, EndpointStatus="Deleting", LastModifiedTime=now())
            self._tags.remove(record["EndpointArn"])
        if fleet is not None:
            self._site.start(self._take_down, name, fleet)
        return {}

    def _take_down(self, name: str, fleet: Fleet) -> None:
        fleet.end()
        self.records.remove(name)

    def _delete(self, kind: str, name: str) -> dict[str, Any]:
        with self._site.lock:
            self.get(kind, name)
            (self.models if kind == "model" else self.configs).remove(name)
            self._tags.remove(self._arn(kind, name))
        return {}

    def _list_models(self, given: dict[str, Any]) -> dict[str, Any]:
        members = ("ModelName", "ModelArn", "CreationTime")
        return listing(self.models.values(), given, "Models", members, name="ModelName")

    def _list_configs(self, given: dict[str, Any]) -> dict[str, Any]:
        name = "EndpointConfigName"
        members = (name, "EndpointConfigArn", "CreationTime")
        return listing(self.configs.values(), given, "EndpointConfigs", members, name=name)

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        return listing(
            self.records.values(),
            given,
            "Endpoints",
            _SUMMARY,
            name="EndpointName",
            status="EndpointStatus",
        )
