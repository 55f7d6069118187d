"""What a stack is made of: buckets, topics, repositories and roles; the rest is only noted."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import ACCOUNT
from motrail.sagemaker.rehearsal.template import Resolver
from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.desk import Desk, Images
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Site
    from motrail.sagemaker.rehearsal.storage import Storage
    from motrail.sagemaker.rehearsal.topics import Topics

_NAMES = ("BucketName", "RepositoryName", "TopicName", "RoleName", "ManagedPolicyName")
_KEPT = frozenset({"Retain", "RetainExceptOnCreate"})


class Resources:
    """Makes and removes the resources of stacks.

    A stack's record has them under `Resources`, by their logical names.
    """

    def __init__(
        self, site: Site, storage: Storage, topics: Topics, images: Images, desk: Desk
    ) -> None:
        self._site = site
        self._storage = storage
        self._topics = topics
        self._images = images
        self._desk = desk

    def resolver(self, record: Record, document: Record, values: dict[str, str]) -> Resolver:
        """What resolves a template's functions; a resource that one refers to is made first."""
        resolver: Resolver

        def attribute(logical: str, name: str) -> str:
            if logical not in record["Resources"]:
                self.make(record, document, resolver, logical, [])
            resource = record["Resources"][logical]
            if not name:
                return str(resource["Ref"])
            return str(resource["Attributes"].get(name, f"{logical}.{name}"))

        resolver = Resolver(document, record["StackName"], self._site.region, values, attribute)
        return resolver

    def make(
        self, record: Record, document: Record, resolver: Resolver, logical: str, made: list[str]
    ) -> None:
        """Make a resource, or bring one that is there up to date; its name stays."""
        about = document["Resources"][logical]
        kind = about["Type"]
        properties = resolver.value(about.get("Properties", {}))
        kept = record["Resources"].get(logical)
        if kept is None:
            physical = _physical(record["StackName"], logical, kind, properties)
            try:
                resource = self._bring(kind, physical, properties)
            except CloudError as error:
                self.event(record, logical, kind, "CREATE_FAILED", str(error))
                raise
            made.append(logical)
        else:
            resource = kept
            self._configure(kind, resource["Physical"], properties)
        resource |= {
            "Type": kind,
            "Properties": json.loads(json.dumps(properties)),
            "Kept": about.get("DeletionPolicy") in _KEPT,
            "RetainOnCreate": about.get("DeletionPolicy") == "Retain",
            "Time": now(),
        }
        record["Resources"][logical] = resource
        if kept is None:
            self.event(record, logical, kind, "CREATE_COMPLETE")

    def event(self, record: Record, logical: str, kind: str, status: str, reason: str = "") -> None:
        """Note what happened to a resource, or to the stack itself."""
        resource = record["Resources"].get(logical, {"Physical": record["StackId"]})
        event = {
            "StackId": record["StackId"],
            "EventId": str(uuid.uuid4()),
            "StackName": record["StackName"],
            "LogicalResourceId": logical,
            "PhysicalResourceId": resource["Physical"],
            "ResourceType": kind,
            "Timestamp": now(),
            "ResourceStatus": status,
        }
        if reason:
            event["ResourceStatusReason"] = reason
        record["Events"].insert(0, event)

    def _bring(self, kind: str, physical: str, properties: Record) -> Record:
        attributes: dict[str, str] = {}
        ref = physical
        if kind == "AWS::S3::Bucket":
            self._storage.create(physical, {"Name": physical, "CreationDate": now()})
            attributes["Arn"] = f"arn:aws:s3:::{physical}"
        elif kind == "AWS::SNS::Topic":
            ref = attributes["TopicArn"] = self._topics.create(physical, properties.get("Tags", []))
            attributes["TopicName"] = physical
        elif kind == "AWS::ECR::Repository":
            made = self._images.create(physical)
            attributes |= {"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]}
        elif kind == "AWS::IAM::Role":
            document = properties.get("AssumeRolePolicyDocument")
            attributes["Arn"] = self._desk.create_role(physical, document)["Arn"]
        elif kind == "AWS::IAM::ManagedPolicy":
            ref = attributes["PolicyArn"] = f"arn:aws:iam::{ACCOUNT}:policy/{physical}"
        self._configure(kind, physical, properties)
        return {"Physical": physical, "Ref": ref, "Attributes": attributes}

    def _configure(self, kind: str, physical: str, properties: Record) -> None:
        if kind != "AWS::S3::Bucket":
            return
        settings = {}
        encryption = properties.get("BucketEncryption", {})
        if encryption:
            rules = [
                {
                    "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                    "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
                }
                for rule in encryption["ServerSideEncryptionConfiguration"]
            ]
            settings["BucketEncryption"] = {"Rules": rules}
        if "PublicAccessBlockConfiguration" in properties:
            settings["PublicAccessBlock"] = properties["PublicAccessBlockConfiguration"]
        names = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds", "Id": "ID"}
        rules = [
            {names.get(key, key): value for key, value in rule.items()}
            for rule in properties.get("CorsConfiguration", {}).get("CorsRules", ())
        ]
        if rules:
            settings["BucketCors"] = {"CORSRules": rules}
        if "Tags" in properties:
            settings["BucketTagging"] = {"TagSet": properties["Tags"]}
        self._storage.buckets.update(physical, **settings)

    def remove(self, record: Record, logical: str, *, always: bool = False) -> None:
        """Remove a resource, unless it is to be kept.

        Raises:
            CloudError: It cannot be removed, as a bucket that has something in it.
        """
        resource = record["Resources"][logical]
        keep = resource["RetainOnCreate"] if always else resource["Kept"]
        physical = resource["Physical"]
        if not keep:
            if resource["Type"] == "AWS::S3::Bucket" and physical in self._storage.buckets:
                self._storage.delete(physical)
            elif resource["Type"] == "AWS::SNS::Topic":
                self._topics.remove(resource["Ref"])
            elif resource["Type"] == "AWS::ECR::Repository":
                self._images.records.remove(physical)
            elif resource["Type"] == "AWS::IAM::Role":
                self._desk.roles.remove(physical)
        status = "DELETE_SKIPPED" if keep else "DELETE_COMPLETE"
        self.event(record, logical, resource["Type"], status)
        del record["Resources"][logical]

    def changes(
        self, record: Record, document: Record, values: dict[str, str], text: str
    ) -> list[Record]:
        """What would be added, modified and removed."""
        before = {each["ParameterKey"]: each["ParameterValue"] for each in record["Parameters"]}
        same = text == record["Template"] and values == before
        wanted = wanted_resources(document, self.resolver(record, document, values))
        changes = []
        for logical in wanted:
            kind = document["Resources"][logical]["Type"]
            if logical not in record["Resources"]:
                changes.append(_change("Add", logical, kind))
            elif not same and self._differs(record, document, values, logical):
                changes.append(_change("Modify", logical, kind))
        gone = [name for name in record["Resources"] if name not in wanted]
        changes += [_change("Remove", name, record["Resources"][name]["Type"]) for name in gone]
        return changes

    def _differs(
        self, record: Record, document: Record, values: dict[str, str], logical: str
    ) -> bool:
        def attribute(other: str, name: str) -> str:
            resource = record["Resources"].get(other)
            if resource is None:
                return f"{other}.{name}"
            if not name:
                return str(resource["Ref"])
            return str(resource["Attributes"].get(name, f"{other}.{name}"))

        resolver = Resolver(document, record["StackName"], self._site.region, values, attribute)
        properties = resolver.value(document["Resources"][logical].get("Properties", {}))
        kept = record["Resources"][logical]["Properties"]
        return bool(json.loads(json.dumps(properties)) != kept)


def wanted_resources(document: Record, resolver: Resolver) -> list[str]:
    """Logical names of the resources whose condition holds."""
    return [
        logical
        for logical, about in document["Resources"].items()
        if "Condition" not in about or resolver.condition(about["Condition"])
    ]


def _physical(stack: str, logical: str, kind: str, properties: Record) -> str:
    """The given name, or one of CloudFormation's kind; buckets have small letters."""
    for name in _NAMES:
        if name in properties:
            return str(properties[name])
    if kind == "AWS::S3::Bucket":
        return f"{stack}-{logical}-{uuid.uuid4().hex[:12]}".lower()
    return f"{stack}-{logical}-{uuid.uuid4().hex[:12].upper()}"


def _change(action: str, logical: str, kind: str) -> Record:
    about = {"Action": action, "LogicalResourceId": logical, "ResourceType": kind}
    if action == "Modify":
        about["Replacement"] = "False"
    return {"Type": "Resource", "ResourceChange": about}
