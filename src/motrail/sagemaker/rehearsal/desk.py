"""The small services around the work: tags, identity, roles, images, quotas, prices."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.faults import USAGES, quota_code
from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import ACCOUNT, invalid, page, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motrail.sagemaker.rehearsal.faults import Faults
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site

# fmt: off
_TYPES = (
    "ml.c5.2xlarge", "ml.c5.large", "ml.c5.xlarge", "ml.g4dn.xlarge", "ml.g5.2xlarge",
    "ml.g5.xlarge", "ml.g6.2xlarge", "ml.g6.xlarge", "ml.g6e.2xlarge", "ml.g6e.xlarge",
    "ml.m5.large", "ml.m5.xlarge", "ml.p4d.24xlarge", "ml.p5.48xlarge",
)
# fmt: on
_NO_ENTITY = "NoSuchEntity"


class Tags:
    """Which tags a resource has."""

    def __init__(self, site: Site) -> None:
        self._records = site.shelf("tags")

    def put(self, arn: str, tags: Sequence[Record]) -> None:
        """Tag a new resource."""
        self._records.put(arn, {"Tags": [dict(tag) for tag in tags]})

    def get(self, arn: str) -> list[Record]:
        """The tags of a resource."""
        return list((self._records.get(arn) or {}).get("Tags", ()))

    def remove(self, arn: str) -> None:
        """Forget a resource that is gone."""
        self._records.remove(arn)

    def operations(self) -> Operations:
        """By their names."""
        return {"AddTags": self._add, "ListTags": self._list, "DeleteTags": self._delete}

    def _known(self, arn: str) -> list[Record]:
        if arn not in self._records:
            invalid(f'Could not find resource "{arn}".')
        return self.get(arn)

    def _add(self, given: dict[str, Any]) -> dict[str, Any]:
        tags = {tag["Key"]: tag for tag in (*self._known(given["ResourceArn"]), *given["Tags"])}
        self.put(given["ResourceArn"], list(tags.values()))
        return {"Tags": list(tags.values())}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        return page(self._known(given["ResourceArn"]), given, "Tags")

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        kept = self._known(given["ResourceArn"])
        self.put(given["ResourceArn"], [tag for tag in kept if tag["Key"] not in given["TagKeys"]])
        return {}


class Images:
    """ECR: the images of a repository are what runs here anyway, so every tag is there."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.records = site.shelf("repositories")

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateRepository": self._create,
            "DescribeRepositories": self._describe,
            "DeleteRepository": self._delete,
            "DescribeImages": self._images,
            "ListImages": self._list,
            "BatchDeleteImage": self._delete_images,
            "GetAuthorizationToken": self._token,
        }

    def create(self, name: str) -> Record:
        """Make a repository.

        Raises:
            CloudError: There is one of that name.
        """
        if name in self.records:
            refuse(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id "
                f"'{ACCOUNT}'",
            )
        record = {
            "repositoryArn": self._site.arn("ecr", f"repository/{name}"),
            "registryId": ACCOUNT,
            "repositoryName": name,
            "repositoryUri": f"{ACCOUNT}.dkr.ecr.{self._site.region}.amazonaws.com/{name}",
            "createdAt": now(),
            "imageTagMutability": "MUTABLE",
        }
        self.records.put(name, record)
        return record

    def _get(self, name: str) -> Record:
        record = self.records.get(name)
        if record is None:
            refuse(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id "
                f"'{ACCOUNT}'",
            )
        return record

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"repository": self.create(given["repositoryName"])}

    def _describe(self, given: dict[str, Any]) -> dict[str, Any]:
        names = given.get("repositoryNames") or self.records.names()
        found = [self._get(name) for name in names]
        return page(found, given, "repositories", size="maxResults", token="nextToken")  # noqa: S106

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self._get(given["repositoryName"])
        self.records.remove(given["repositoryName"])
        return {"repository": record}

    def _images(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self._get(given["repositoryName"])
        ids = given.get("imageIds", ())
        details = [
            {
                "registryId": ACCOUNT,
                "repositoryName": record["repositoryName"],
                "imageDigest": each.get("imageDigest") or _digest(each["imageTag"]),
                "imageTags": [each["imageTag"]] if "imageTag" in each else [],
                "imagePushedAt": record["createdAt"],
            }
            for each in ids
        ]
        return {"imageDetails": details}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        self._get(given["repositoryName"])
        return {"imageIds": []}

    def _delete_images(self, given: dict[str, Any]) -> dict[str, Any]:
        self._get(given["repositoryName"])
        return {"imageIds": given["imageIds"], "failures": []}

    def _token(self, _given: dict[str, Any]) -> dict[str, Any]:
        return {
            "authorizationData": [
                {
                    "authorizationToken": base64.b64encode(b"AWS:rehearsal").decode(),
                    "expiresAt": now() + timedelta(hours=12),
                    "proxyEndpoint": f"https://{ACCOUNT}.dkr.ecr.{self._site.region}.amazonaws.com",
                }
            ]
        }


class Desk:
    """Who asks, what may be used, what it costs."""

    def __init__(self, site: Site, faults: Faults) -> None:
        self._site = site
        self._faults = faults
        self.roles = site.shelf("roles")

    def identity(self) -> Operations:
        """Of STS, by their names."""
        return {
            "GetCallerIdentity": lambda _given: {
                "UserId": "AIDAREHEARSAL",
                "Account": ACCOUNT,
                "Arn": f"arn:aws:iam::{ACCOUNT}:user/rehearsal",
            }
        }

    def iam(self) -> Operations:
        """Of IAM, by their names."""
        return {"GetRole": self._role, "ListRoles": self._roles}

    def quotas(self) -> Operations:
        """Of Service Quotas, by their names."""
        return {
            "ListServiceQuotas": self._quotas,
            "ListAWSDefaultServiceQuotas": self._quotas,
            "GetServiceQuota": self._quota,
            "RequestServiceQuotaIncrease": self._increase,
            "ListRequestedServiceQuotaChangeHistory": lambda _given: {"RequestedQuotas": []},
            "ListRequestedServiceQuotaChangeHistoryByQuota": lambda _given: {"RequestedQuotas": []},
        }

    def pricing(self) -> Operations:
        """Of the price list, by their names; a rehearsal knows no prices, and says none."""
        return {"GetProducts": lambda _given: {"FormatVersion": "aws_v1", "PriceList": []}}

    def create_role(self, name: str, document: Any) -> Record:
        """Make a role.

        Raises:
            CloudError: There is one of that name.
        """
        if name in self.roles:
            refuse("EntityAlreadyExists", f"Role with name {name} already exists.")
        record = {
            "Path": "/",
            "RoleName": name,
            "RoleId": f"AROA{_digest(name)[7:24].upper()}",
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
            "CreateDate": now(),
        }
        self.roles.put(name, record | {"Document": document})
        return record

    def _role(self, given: dict[str, Any]) -> dict[str, Any]:
        record = self.roles.get(given["RoleName"])
        if record is None:
            refuse(_NO_ENTITY, f"The role with name {given['RoleName']} cannot be found.")
        record.pop("Document")
        return {"Role": record}

    def _roles(self, _given: dict[str, Any]) -> dict[str, Any]:
        names = self.roles.names()
        return {
            "Roles": [self._role({"RoleName": name})["Role"] for name in names],
            "IsTruncated": False,
        }

    def _all_quotas(self) -> dict[str, Record]:
        names = {f"{kind} for {usage}" for kind in _TYPES for usage in USAGES}
        return {
            quota_code(name): self._described(name)
            for name in sorted(names | self._faults.quotas.keys())
        }

    def _described(self, name: str) -> Record:
        code = quota_code(name)
        return {
            "ServiceCode": "sagemaker",
            "ServiceName": "Amazon SageMaker",
            "QuotaArn": self._site.arn("servicequotas", f"sagemaker/{code}"),
            "QuotaCode": code,
            "QuotaName": name,
            "Value": self._faults.quota(name),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }

    def _quotas(self, given: dict[str, Any]) -> dict[str, Any]:
        return page(list(self._all_quotas().values()), given, "Quotas")

    def _quota(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"Quota": self._known_quota(given["QuotaCode"])}

    def _known_quota(self, code: str) -> Record:
        quota = self._all_quotas().get(code)
        if quota is None:
            refuse("NoSuchResourceException", f"The request failed because {code} is no quota.")
        return quota

    def _increase(self, given: dict[str, Any]) -> dict[str, Any]:
        quota = self._known_quota(given["QuotaCode"])
        return {
            "RequestedQuota": {
                "Id": _digest(quota["QuotaName"])[7:39],
                "ServiceCode": "sagemaker",
                "ServiceName": "Amazon SageMaker",
                "QuotaCode": quota["QuotaCode"],
                "QuotaName": quota["QuotaName"],
                "DesiredValue": float(given["DesiredValue"]),
                "Status": "PENDING",
                "Created": now(),
            }
        }


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
