"""What AWS answers when it refuses, as an error that says what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.request import CloudError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGN_IN = "sign in again (run: aws sso login, or aws configure), or choose another --profile"
_EXPIRED = f"the credentials are out of date; {_SIGN_IN}"
_WRONG = f"AWS does not know these credentials; {_SIGN_IN}"
_INCOMPLETE = (
    "the credentials for AWS are incomplete: both an access key id and a secret access key are "
    "needed"
)
_CAPACITY = (
    "AWS has no such instance free at the moment; try again later, or choose another instance type "
    "or --region"
)
_QUOTA = (
    "the account's limit is reached; ask for more in the console under Service Quotas, or choose "
    "another instance type or fewer instances"
)
_SLOWER = "AWS asks for fewer requests a second; try again in a minute"
_CLOCK = "the clock of this machine is wrong; set it"
_ADVICE: Mapping[str, str] = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidClientTokenId": _WRONG,
    "UnrecognizedClientException": _WRONG,
    "InvalidAccessKeyId": _WRONG,
    "SignatureDoesNotMatch": _WRONG,
    "AuthFailure": _WRONG,
    "OptInRequired": "this region or service is not switched on for the account",
    "RequestTimeTooSkewed": _CLOCK,
    "ResourceLimitExceeded": _QUOTA,
    "ServiceQuotaExceededException": _QUOTA,
    "LimitExceededException": _QUOTA,
    "LimitExceeded": _QUOTA,
    "CapacityError": _CAPACITY,
    "InsufficientCapacityError": _CAPACITY,
    "InsufficientInstanceCapacity": _CAPACITY,
    "InsufficientCapacity": _CAPACITY,
    "Throttling": _SLOWER,
    "ThrottlingException": _SLOWER,
    "TooManyRequestsException": _SLOWER,
    "RequestLimitExceeded": _SLOWER,
    "SlowDown": _SLOWER,
    "ServiceUnavailable": "AWS has trouble; try again later",
    "InternalFailure": "AWS has trouble; try again later",
    "InternalServerError": "AWS has trouble; try again later",
    "NoSuchBucket": "there is no such bucket; run: motrail sagemaker setup",
    "ModelError": "the container refused; see the endpoint's log",
}
_DENIED = frozenset({
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "UnauthorizedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "403",
})  # fmt: skip
_ACTION = re.compile(r"perform:? ([a-zA-Z0-9-]+:[A-Za-z0-9*]+)")
_S3_ACTIONS = {
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "ListObjectsV2": "s3:ListBucket",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
}
_NOT_THERE = {"404": "NoSuchKey", "NotFound": "NoSuchKey"}


def answered(service: str, operation: str, response: Mapping[str, Any]) -> CloudError:
    """The error for an answer of AWS.

    Args:
        service: boto3's name of the client.
        operation: What was asked.
        response: As botocore's `ClientError.response`.
    """
    error = response.get("Error", {})
    code = str(error.get("Code") or "Unknown")
    said = str(error.get("Message") or "").strip() or "no reason given"
    if service == "s3":
        code = _NOT_THERE.get(code, code)
    text = f"{service} {operation}: {code}: {said}"
    original = response.get("OriginalMessage")
    if original:
        text = f"{text}: {str(original).strip()}"
    advice = _advice(service, operation, code, said)
    return CloudError(f"{text}; {advice}" if advice else text, code=code)


def lacks_instances(error: Exception) -> bool:
    """Whether an error, or a job's reason in it, is that AWS had no instances to give."""
    text = f"{getattr(error, 'code', '')} {error}".lower()
    return "capacity" in text or "no spare instances" in text


def _advice(service: str, operation: str, code: str, said: str) -> str | None:
    if code in _DENIED:
        match = _ACTION.search(said)
        action = match[1] if match else _action(service, operation)
        return f"the signed-in user may not do this; let an administrator allow {action}"
    if "capacity" in code.lower() or "insufficient capacity" in said.lower():
        return _CAPACITY
    return _ADVICE.get(code)


def _action(service: str, operation: str) -> str:
    if service == "s3":
        return _S3_ACTIONS.get(operation, f"s3:{operation}")
    if service == "service-quotas":
        service = "servicequotas"
    return f"{service.removesuffix('-runtime')}:{operation}"


_NOT_SENT: Mapping[str, tuple[str, str]] = {
    "NoCredentialsError": (
        "NoCredentials",
        f"no credentials were found for AWS; {_SIGN_IN}",
    ),
    "PartialCredentialsError": ("NoCredentials", _INCOMPLETE),
    "CredentialRetrievalError": ("NoCredentials", f"the credentials cannot be had; {_SIGN_IN}"),
    "SSOTokenLoadError": ("ExpiredToken", _EXPIRED),
    "UnauthorizedSSOTokenError": ("ExpiredToken", _EXPIRED),
    "TokenRetrievalError": ("ExpiredToken", _EXPIRED),
    "LoginTokenLoadError": ("ExpiredToken", _EXPIRED),
    "EndpointConnectionError": (
        "NoConnection",
        "AWS cannot be reached; look at the network, the proxy and the --region",
    ),
    "ConnectTimeoutError": ("NoConnection", "AWS does not answer; look at the network"),
    "ReadTimeoutError": ("Timeout", "AWS took too long to answer; try again"),
    "ConnectionClosedError": ("NoConnection", "the connection broke; try again"),
    "ProxyConnectionError": ("NoConnection", "the proxy cannot be reached"),
    "SSLError": (
        "NoConnection",
        "the other side's certificate is not trusted; AWS_CA_BUNDLE names further ones",
    ),
}


def not_answered(service: str, operation: str, error: Exception) -> CloudError:
    """The error for a request that never got an answer: no credentials, no network.

    Args:
        service: boto3's name of the client.
        operation: What was to be asked.
        error: botocore's, boto3's or urllib3's.
    """
    for kind in type(error).__mro__:
        if kind.__name__ in _NOT_SENT:
            code, advice = _NOT_SENT[kind.__name__]
            return CloudError(f"{service} {operation}: {advice}", code=code)
    return CloudError(f"{service} {operation}: {error}", code=type(error).__name__)
