"""Auto scaling and alarms: kept and given back; nothing scales by itself here."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import ACCOUNT, page, refuse

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site

_WHICH = ("ServiceNamespace", "ResourceId", "ScalableDimension")


class Scaling:
    """Application Auto Scaling."""

    def __init__(self, site: Site, alarms: Alarms, tags: Tags) -> None:
        self._site = site
        self._alarms = alarms
        self._tags = tags
        self.targets = site.shelf("scalable-targets")
        self.policies = site.shelf("scaling-policies")

    def operations(self) -> Operations:
        """By their names."""
        return {
            "RegisterScalableTarget": self._register,
            "DescribeScalableTargets": self._describe_targets,
            "DeregisterScalableTarget": self._deregister,
            "PutScalingPolicy": self._put,
            "DescribeScalingPolicies": self._describe_policies,
            "DeleteScalingPolicy": self._delete,
            "DescribeScalingActivities": lambda _given: {"ScalingActivities": []},
            "ListTagsForResource": self._list_tags,
        }

    def _register(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            kept = self.targets.get(_target(given))
            if kept is None:
                if not {"MinCapacity", "MaxCapacity"} <= given.keys():
                    _invalid("MinCapacity and MaxCapacity are needed for a new scalable target.")
                self._check_variant(given["ResourceId"])
                unique = uuid.uuid4().hex
                role = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
                kept = {
                    **{key: given[key] for key in _WHICH},
                    "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{role}",
                    "CreationTime": now(),
                    "SuspendedState": {},
                    "ScalableTargetARN": self._site.arn(
                        "application-autoscaling", f"scalable-target/{unique}"
                    ),
                }
            changes = ("MinCapacity", "MaxCapacity", "SuspendedState")
            kept |= {key: given[key] for key in changes if key in given}
            self.targets.put(_target(given), kept)
            if "Tags" in given:
                tags = [{"Key": key, "Value": value} for key, value in given["Tags"].items()]
                self._tags.put(kept["ScalableTargetARN"], tags)
        return {"ScalableTargetARN": kept["ScalableTargetARN"]}

    def _check_variant(self, resource: str) -> None:
        """`endpoint/<name>/variant/<name>` of an endpoint that there is."""
        parts = resource.split("/")
        if len(parts) == 4 and parts[0] == "endpoint":
            record = self._site.shelf("endpoints").get(parts[1])
            if record is None:
                _invalid(f"SageMaker endpoint doesn't exist: {resource}")

    def _describe_targets(self, given: dict[str, Any]) -> dict[str, Any]:
        ids = given.get("ResourceIds")
        found = [
            record
            for record in self.targets.values()
            if _same(record, given) and (not ids or record["ResourceId"] in ids)
        ]
        return page(found, given, "ScalableTargets")

    def _deregister(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            record = self.targets.remove(_target(given))
            if record is None:
                _missing(f"No scalable target found for {_target(given)}")
            self._tags.remove(record["ScalableTargetARN"])
            for policy in self.policies.values():
                if _target(policy) == _target(given):
                    self._remove(policy)
        return {}

    def _put(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            if _target(given) not in self.targets:
                _missing(f"No scalable target registered for {_target(given)}")
            name = f"{_target(given)}/{given['PolicyName']}"
            kept = self.policies.get(name)
            record = {key: given[key] for key in given} | {
                "PolicyType": given.get("PolicyType", "StepScaling"),
                "CreationTime": kept["CreationTime"] if kept else now(),
                "PolicyARN": kept["PolicyARN"] if kept else self._policy_arn(given),
                "Alarms": kept["Alarms"] if kept else self._tracking_alarms(given),
            }
            self.policies.put(name, record)
        return {"PolicyARN": record["PolicyARN"], "Alarms": record["Alarms"]}

    def _policy_arn(self, given: dict[str, Any]) -> str:
        where = f"resource/{given['ServiceNamespace']}/{given['ResourceId']}"
        name = f"policyName/{given['PolicyName']}"
        return self._site.arn("autoscaling", f"scalingPolicy:{uuid.uuid4()}:{where}:{name}")

    def _tracking_alarms(self, given: dict[str, Any]) -> list[Record]:
        """Target tracking makes two alarms of its own; a step policy waits for someone else's."""
        if given.get("PolicyType") != "TargetTrackingScaling":
            return []
        made = []
        for side in ("AlarmHigh", "AlarmLow"):
            name = f"TargetTracking-{given['ResourceId']}-{side}-{uuid.uuid4()}"
            made.append({"AlarmName": name, "AlarmARN": self._alarms.put({"AlarmName": name})})
        return made

    def _describe_policies(self, given: dict[str, Any]) -> dict[str, Any]:
        names = given.get("PolicyNames")
        found = [
            record
            for record in self.policies.values()
            if _same(record, given) and (not names or record["PolicyName"] in names)
        ]
        return page(found, given, "ScalingPolicies")

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            policy = self.policies.get(f"{_target(given)}/{given['PolicyName']}")
            if policy is None:
                _missing(f"No scaling policy found for {given['PolicyName']}")
            self._remove(policy)
        return {}

    def _remove(self, policy: Record) -> None:
        self.policies.remove(f"{_target(policy)}/{policy['PolicyName']}")
        for alarm in policy["Alarms"]:
            self._alarms.records.remove(alarm["AlarmName"])

    def _list_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        tags = self._tags.get(given["ResourceARN"])
        return {"Tags": {tag["Key"]: tag["Value"] for tag in tags}}


class Alarms:
    """CloudWatch's alarms, and metrics that nobody has written."""

    def __init__(self, site: Site, tags: Tags) -> None:
        self._site = site
        self._tags = tags
        self.records = site.shelf("alarms")

    def operations(self) -> Operations:
        """By their names."""
        return {
            "PutMetricAlarm": self._put,
            "DescribeAlarms": self._describe,
            "DeleteAlarms": self._delete,
            "ListTagsForResource": self._list_tags,
            "GetMetricData": lambda _given: {"MetricDataResults": [], "Messages": []},
            "GetMetricStatistics": lambda given: {
                "Label": given["MetricName"],
                "Datapoints": [],
            },
            "ListMetrics": lambda _given: {"Metrics": []},
        }

    def put(self, given: Record) -> str:
        """Keep an alarm; gives its ARN."""
        name = given["AlarmName"]
        arn = self._site.arn("cloudwatch", f"alarm:{name}")
        record = {key: given[key] for key in given if key != "Tags"} | {
            "AlarmArn": arn,
            "StateValue": "INSUFFICIENT_DATA",
            "StateReason": "Unchecked: Initial alarm creation",
            "AlarmConfigurationUpdatedTimestamp": now(),
        }
        self.records.put(name, record)
        self._tags.put(arn, given.get("Tags", ()))
        return arn

    def _put(self, given: dict[str, Any]) -> dict[str, Any]:
        self.put(given)
        return {}

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        names, prefix = given.get("AlarmNames"), given.get("AlarmNamePrefix", "")
        found = [
            record
            for record in self.records.values()
            if record["AlarmName"].startswith(prefix)
            and (not names or record["AlarmName"] in names)
        ]
        answer = page(found, given, "MetricAlarms", size="MaxRecords")
        return answer | {"CompositeAlarms": []}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in given["AlarmNames"] if name not in self.records]
        if missing:
            refuse("ResourceNotFound", f"Alarms {missing} do not exist")
        for name in given["AlarmNames"]:
            record = self.records.remove(name)
            if record is not None:
                self._tags.remove(record["AlarmArn"])
        return {}

    def _list_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self._tags.get(given["ResourceARN"])}


def _target(given: Record) -> str:
    return "/".join(given[key] for key in _WHICH)


def _same(record: Record, given: Record) -> bool:
    return all(record[key] == given[key] for key in _WHICH if key in given)


def _missing(message: str) -> NoReturn:
    refuse("ObjectNotFoundException", message)


def _invalid(message: str) -> NoReturn:
    refuse("ValidationException", message)
