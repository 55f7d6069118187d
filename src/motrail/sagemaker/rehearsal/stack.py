"""CloudFormation: the stack's resources as far as a rehearsal has them, and its outputs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.resources import Resources, wanted_resources
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import page, refuse
from motrail.sagemaker.rehearsal.template import parameters, read
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.desk import Desk, Images
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site
    from motrail.sagemaker.rehearsal.storage import Storage
    from motrail.sagemaker.rehearsal.topics import Topics

_IAM = "AWS::IAM::"
_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."  # noqa: E501


class Stacks:
    """The stacks of a rehearsal."""

    def __init__(
        self, site: Site, storage: Storage, topics: Topics, images: Images, desk: Desk
    ) -> None:
        self._site = site
        self._resources = Resources(site, storage, topics, images, desk)
        self._records = site.shelf("stacks")
        self._sets = site.shelf("change-sets")

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateStack": self._create,
            "UpdateStack": self._update,
            "DeleteStack": self._delete,
            "DescribeStacks": self._describe,
            "DescribeStackEvents": self._events,
            "DescribeStackResources": self._describe_resources,
            "ListStackResources": self._list_resources,
            "CreateChangeSet": self._create_set,
            "DescribeChangeSet": self._describe_set,
            "ExecuteChangeSet": self._execute_set,
            "DeleteChangeSet": self._delete_set,
            "ValidateTemplate": self._validate,
            "GetTemplate": self._template,
        }

    def _id(self, name: str) -> str:
        return self._site.arn("cloudformation", f"stack/{name}/{uuid.uuid4()}")

    def _find(self, name: str) -> Record:
        """A stack by name or, even if it was deleted, by ARN."""
        record = self._records.get(name)
        if record is None and name.startswith("arn:"):
            record = self._records.get(name.split("/")[1])
            if record is None or record["StackId"] != name:
                record = self._records.get(f"deleted {name}")
        if record is None:
            refuse("ValidationError", f"Stack with id {name} does not exist")
        return record

    def _start(self, given: dict[str, Any], status: str) -> Record:
        record = {
            "StackId": self._id(given["StackName"]),
            "StackName": given["StackName"],
            "CreationTime": now(),
            "StackStatus": status,
            "Parameters": [],
            "Outputs": [],
            "Capabilities": given.get("Capabilities", []),
            "Tags": given.get("Tags", []),
            "Resources": {},
            "Events": [],
            "Template": "",
        }
        if "Description" in given:
            record["Description"] = given["Description"]
        return record

    def _plan(self, given: dict[str, Any], record: Record) -> tuple[Record, dict[str, str]]:
        """The template and the values of its parameters, if they may be used.

        Raises:
            CloudError: They may not.
        """
        document = read(given["TemplateBody"])
        before = {each["ParameterKey"]: each["ParameterValue"] for each in record["Parameters"]}
        values = parameters(document, given.get("Parameters", []), before)
        has_roles = any(each["Type"].startswith(_IAM) for each in document["Resources"].values())
        able = {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"} & set(given.get("Capabilities", ()))
        if has_roles and not able:
            refuse("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]")
        return document, values

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            if given["StackName"] in self._records:
                refuse("AlreadyExistsException", f"Stack [{given['StackName']}] already exists")
            record = self._start(given, "CREATE_IN_PROGRESS")
            document, values = self._plan(given, record)
            self._apply(record, document, values, given["TemplateBody"], "CREATE")
        return {"StackId": record["StackId"]}

    def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            record = self._find(given["StackName"])
            document, values = self._plan(given, record)
            if not self._resources.changes(record, document, values, given["TemplateBody"]):
                refuse("ValidationError", "No updates are to be performed.")
            record["Capabilities"] = given.get("Capabilities", [])
            self._apply(record, document, values, given["TemplateBody"], "UPDATE")
        return {"StackId": record["StackId"]}

    def _apply(
        self,
        record: Record,
        document: Record,
        values: dict[str, str],
        text: str,
        verb: str,
    ) -> None:
        """Bring a stack to a template; a new one that fails is rolled back."""
        record["Template"] = text
        record["Parameters"] = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
        ]
        self._resources.event(
            record, record["StackName"], "AWS::CloudFormation::Stack", f"{verb}_IN_PROGRESS"
        )
        resolver = self._resources.resolver(record, document, values)
        wanted = wanted_resources(document, resolver)
        for logical in [name for name in record["Resources"] if name not in wanted]:
            self._resources.remove(record, logical)
        made: list[str] = []
        try:
            for logical in wanted:
                self._resources.make(record, document, resolver, logical, made)
            record["Outputs"] = [
                {
                    "OutputKey": key,
                    "OutputValue": str(resolver.value(about["Value"])),
                    **({"Description": about["Description"]} if "Description" in about else {}),
                }
                for key, about in document.get("Outputs", {}).items()
                if "Condition" not in about or resolver.condition(about["Condition"])
            ]
            record["StackStatus"] = f"{verb}_COMPLETE"
        except CloudError as error:
            for logical in reversed(made):
                self._resources.remove(record, logical, always=True)
            self._fail(record, made, str(error), verb)
        if verb == "UPDATE":
            record["LastUpdatedTime"] = now()
        status = record["StackStatus"]
        self._resources.event(record, record["StackName"], "AWS::CloudFormation::Stack", status)
        self._records.put(record["StackName"], record)

    def _fail(self, record: Record, made: list[str], reason: str, verb: str) -> None:
        for logical in made:
            record["Resources"].pop(logical, None)
        record["StackStatus"] = (
            "ROLLBACK_COMPLETE" if verb == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"
        )
        record["StackStatusReason"] = reason

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        """A stack that is not there is deleted already."""
        with self._site.lock:
            try:
                record = self._find(given["StackName"])
            except CloudError:
                return {}
            if record["StackStatus"] == "DELETE_COMPLETE":
                return {}
            try:
                for logical in reversed(list(record["Resources"])):
                    self._resources.remove(record, logical)
            except CloudError as error:
                record |= {"StackStatus": "DELETE_FAILED", "StackStatusReason": str(error)}
                self._records.put(record["StackName"], record)
                return {}
            record |= {"StackStatus": "DELETE_COMPLETE", "DeletionTime": now(), "Outputs": []}
            kind = "AWS::CloudFormation::Stack"
            self._resources.event(record, record["StackName"], kind, "DELETE_COMPLETE")
            self._records.remove(record["StackName"])
            self._records.put(f"deleted {record['StackId']}", record)
        return {}

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        if "StackName" in given:
            records = [self._find(given["StackName"])]
        else:
            records = [
                each for each in self._records.values() if each["StackStatus"] != "DELETE_COMPLETE"
            ]
        inner = ("Resources", "Events", "Template")
        stacks = [
            {key: value for key, value in record.items() if key not in inner} for record in records
        ]
        return page(stacks, given, "Stacks")

    def _events(self, given: dict[str, Any]) -> dict[str, Any]:
        return page(self._find(given["StackName"])["Events"], given, "StackEvents")

    def _resource_list(self, record: Record) -> list[Record]:
        return [
            {
                "LogicalResourceId": logical,
                "PhysicalResourceId": resource["Ref"],
                "ResourceType": resource["Type"],
                "ResourceStatus": "CREATE_COMPLETE",
                "Time": resource["Time"],
            }
            for logical, resource in record["Resources"].items()
        ]

    def _describe_resources(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self._find(given["StackName"])
        found = [
            {**each, "Timestamp": each.pop("Time"), "StackName": record["StackName"]}
            for each in self._resource_list(record)
        ]
        return {"StackResources": found}

    def _list_resources(self, given: dict[str, Any]) -> dict[str, Any]:
        found = [
            {**each, "LastUpdatedTimestamp": each.pop("Time")}
            for each in self._resource_list(self._find(given["StackName"]))
        ]
        return page(found, given, "StackResourceSummaries")

    def _create_set(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["StackName"]
        with self._site.lock:
            kept = self._records.get(name)
            if given.get("ChangeSetType", "UPDATE") == "CREATE":
                if kept is not None and kept["StackStatus"] != "REVIEW_IN_PROGRESS":
                    refuse(
                        "ValidationError",
                        f"Stack [{name}] already exists and cannot be created again",
                    )
                record = kept or self._start(given, "REVIEW_IN_PROGRESS")
            else:
                record = self._find(name)
            document, values = self._plan(given, record)
            changes = self._resources.changes(record, document, values, given["TemplateBody"])
            self._records.put(name, record)
            arn = self._site.arn(
                "cloudformation", f"changeSet/{given['ChangeSetName']}/{uuid.uuid4()}"
            )
            described = {
                "ChangeSetName": given["ChangeSetName"],
                "ChangeSetId": arn,
                "StackId": record["StackId"],
                "StackName": name,
                "Parameters": [
                    {"ParameterKey": key, "ParameterValue": value} for key, value in values.items()
                ],
                "CreationTime": now(),
                "ExecutionStatus": "AVAILABLE" if changes else "UNAVAILABLE",
                "Status": "CREATE_COMPLETE" if changes else "FAILED",
                "Capabilities": given.get("Capabilities", []),
                "Tags": given.get("Tags", []),
                "Changes": changes,
            }
            if not changes:
                described["StatusReason"] = _NO_CHANGES
            self._sets.put(
                f"{name}/{given['ChangeSetName']}", {"Given": given, "Answer": described}
            )
        return {"Id": arn, "StackId": record["StackId"]}

    def _set(self, given: dict[str, Any]) -> Record:
        name = given["ChangeSetName"]
        found = None
        for record in self._sets.values():
            answer = record["Answer"]
            same_stack = given.get("StackName") in {
                None, answer["StackName"], answer["StackId"],
            }  # fmt: skip
            if name == answer["ChangeSetId"] or (same_stack and name == answer["ChangeSetName"]):
                found = record
        if found is None:
            refuse("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")
        return found

    def _describe_set(self, given: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._set(given)["Answer"]
        return answer

    def _execute_set(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            found = self._set(given)
            answer = found["Answer"]
            if answer["ExecutionStatus"] != "AVAILABLE":
                refuse(
                    "InvalidChangeSetStatus",
                    f"ChangeSet [{answer['ChangeSetId']}] cannot be executed in its current status "
                    f"of [{answer['Status']}]",
                )
            record = self._find(answer["StackName"])
            verb = "CREATE" if record["StackStatus"] == "REVIEW_IN_PROGRESS" else "UPDATE"
            record["Capabilities"] = answer["Capabilities"]
            record["Tags"] = answer["Tags"]
            document, values = self._plan(found["Given"], record)
            self._apply(record, document, values, found["Given"]["TemplateBody"], verb)
            self._forget_set(answer)
            if (
                record["StackStatus"] == "ROLLBACK_COMPLETE"
                and found["Given"].get("OnStackFailure") == "DELETE"
            ):
                self._delete({"StackName": record["StackName"]})
        return {}

    def _delete_set(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._site.lock:
            self._forget_set(self._set(given)["Answer"])
        return {}

    def _forget_set(self, answer: Record) -> None:
        self._sets.remove(f"{answer['StackName']}/{answer['ChangeSetName']}")

    def _validate(self, given: dict[str, Any]) -> dict[str, Any]:
        document = read(given["TemplateBody"])
        return {
            "Parameters": [
                {"ParameterKey": key, "NoEcho": False} for key in document.get("Parameters", {})
            ]
        }

    def _template(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"TemplateBody": self._find(given["StackName"])["Template"]}
