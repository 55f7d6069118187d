"""Nothing that opens a door, and no account id, stays in a text."""

from __future__ import annotations

import io
import logging
import random
import string

import pytest

from commands import caller
from motrail.sagemaker.redact import RedactingFilter, has_secret, redact
from motrail.sagemaker.request import CloudError

# All made up, or AWS's own examples.
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105
TOKEN = "IQoJb3JpZ2luX2VjEBUaCWV1LXdlc3QtMSJHMEUCIQDx/+abc" + "Zk9" * 60 + "=="
ACCOUNT = "123456789012"
SIGNATURE = "fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024"

PLANTED = [
    (KEY_ID, KEY_ID),
    (f"user ASIA{'B' * 16} may not", "ASIA"),
    (f"role id AROA{'C' * 17}:session", "AROA"),
    (SECRET, SECRET),
    (f"the key is {SECRET}.", SECRET),
    (f"aws_secret_access_key = {SECRET}", SECRET),
    (f"AWS_SECRET_ACCESS_KEY={SECRET} python x.py", SECRET),
    (f'{{"SecretAccessKey": "{SECRET}", "x": 1}}', SECRET),
    ("{'SecretAccessKey': 'short-one'}", "short-one"),
    (f"AWS_SESSION_TOKEN={TOKEN}", TOKEN[:40]),
    (f"--session-token {TOKEN}", TOKEN[:40]),
    (f"x-amz-security-token: {TOKEN}", TOKEN[:40]),
    ("X-Amz-Security-Token=FwoGZXIvYXdzEA%2F%2Babc&X-Amz-Date=1", "FwoGZXIvYXdzEA"),
    ("aws_session_token: abc123", "abc123"),
    (f"arn:aws:iam::{ACCOUNT}:role/motrail", ACCOUNT),
    (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/motrail:0.1.0", ACCOUNT),
    (f"s3://motrail-{ACCOUNT}-eu-west-1/x", ACCOUNT),
    (f"account {ACCOUNT}.", ACCOUNT),
    (f"{{'Account': '{ACCOUNT}'}}", ACCOUNT),
    (f"id{ACCOUNT}x", ACCOUNT),
    ("in the console: 1234-5678-9012", "1234-5678-9012"),
    (f"https://b/k?X-Amz-Credential={KEY_ID}%2F2026%2Fs3&X-Amz-Signature={SIGNATURE}", SIGNATURE),
    (f"x-amz-signature%3D{SIGNATURE}", SIGNATURE),
    ("https://b.s3.amazonaws.com/k?AWSAccessKeyId=AKIA1&Signature=vjbyPxyb%2FrZ&Expires=1", "vjby"),
    ("https://d.cloudfront.net/k?Policy=a&Signature=nitfHRCr~a&Key-Pair-Id=K2JCJ", "nitfHRCr"),
    ("<StringToSign>AWS4-HMAC-SHA256\n2026\nabc</StringToSign>", "2026"),
    (f"<SignatureProvided>{SIGNATURE}</SignatureProvided>", SIGNATURE),
    (f"Authorization: AWS4-HMAC-SHA256 Credential={KEY_ID}/x, Signature={SIGNATURE}", SIGNATURE),
    ("authorization: Bearer abc.def.ghi", "abc.def.ghi"),
    ("{'Authorization': 'Basic dXNlcjpwYXNz', 'Host': 'x'}", "dXNlcjpwYXNz"),
    ("{b'Authorization': b'Token s3cr3t'}", "s3cr3t"),
    ("sent Bearer 0123456789abcdef", "0123456789abcdef"),
    ("docker login -u AWS, authorizationToken: QVdTOmV5S", "QVdTOmV5S"),
    ("proxy http://user:hunter2@proxy:3128 refused", "hunter2"),
    ("password=hunter2&x=1", "hunter2"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3", "eyJhbGciOiJIUzI1NiJ9"),
]


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_what_was_planted_is_gone(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_a_second_time_changes_nothing(text: str, secret: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_in_an_error(text: str, secret: str) -> None:
    assert secret not in str(CloudError(f"a, {text}", code="AccessDenied"))


@pytest.mark.parametrize(
    "text",
    [
        "sagemaker CreateTrainingJob: TrainingJobName: expected at most 63 characters, found 64",
        "motrail-train-20261123-191500-3f2a",
        "s3://motrail-bucket/datasets/football/train/MOT17-02/img1/000001.jpg",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "al2023-ami-sagemaker-inference-gpu-4-1",
        "a loss of 0.123456789012 after 1234567890123 steps",
        "1732388400123",
        "ValidationException: the number of tokens: 5",
        "Bearer is missing",
        "src/motrail/sagemaker/container/training/x",
        "TargetTrackingScalingPolicyConfiguration",  # 40 letters too
        "https://example.com/a:b/c@d",
        "motrail: epoch=3 AP=0.4123 AP50=0.7012 HOTA=51.2 loss=2.31",
        "",
    ],
)
def test_what_is_none_of_this_stays(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_it_stays() -> None:
    assert redact(f"arn:aws:iam::{ACCOUNT}:role/motrail") == "arn:aws:iam::[account]:role/motrail"
    assert redact(f"GET /k?X-Amz-Signature={SIGNATURE}&x=1") == (
        "GET /k?X-Amz-Signature=[signature]&x=1"
    )
    assert redact("Authorization: Bearer abc\nHost: x") == "Authorization: [authorization]\nHost: x"


def test_every_secret_key_that_aws_may_make_is_found() -> None:
    draw = random.Random(1)  # noqa: S311
    letters = string.ascii_letters + string.digits + "/+"
    for _ in range(500):
        key = "".join(draw.choices(letters, k=40))
        assert redact(f"with {key} in it") == "with [secret] in it"


def test_account_ids_are_no_secrets_and_keys_are() -> None:
    assert not has_secret(f"arn:aws:iam::{ACCOUNT}:role/motrail")
    assert has_secret(f"--key {KEY_ID}")
    assert not has_secret("30")


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "Aa0/" * 50_000, "=" * 100_000, "Bearer " * 20_000]
)
def test_long_texts_are_no_trouble(text: str) -> None:
    redact(text)


def _logger(stream: io.StringIO) -> logging.Logger:
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger = logging.Logger("planted")  # noqa: LOG001  (apart from all others)
    logger.addHandler(handler)
    return logger


def test_a_log_line_and_its_traceback_are_redacted() -> None:
    stream = io.StringIO()
    logger = _logger(stream)
    logger.warning("role arn:aws:iam::%s:role/x with %s", ACCOUNT, KEY_ID)
    try:
        raise ValueError(f"token {TOKEN}")
    except ValueError:
        logger.exception("failed for %(who)s", {"who": KEY_ID}, stack_info=True)
    text = stream.getvalue()
    assert "role arn:aws:iam::[account]:role/x with [access key]" in text
    assert "ValueError: token [token]" in text
    assert "failed for [access key]" in text
    assert "Stack (most recent call last)" in text
    for secret in (ACCOUNT, KEY_ID, TOKEN[:40]):
        assert secret not in text


def test_a_log_line_whose_arguments_do_not_fit_is_no_leak() -> None:
    stream = io.StringIO()
    _logger(stream).warning("one %s two %s " + KEY_ID, "x")
    assert stream.getvalue().startswith("one %s two %s [access key]")


@pytest.mark.parametrize(
    "words",
    [("sagemaker", "status", "--config"), ("remote", "track", "--endpoint", "eye", "--config")],
)
def test_the_command_line_repeats_no_secrets(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"https://b/k?X-Amz-Credential={KEY_ID}%2F2026%2Fs3&X-Amz-Signature={SIGNATURE}"
    result = caller(capsys, *words)(url, *(["clip.mp4"] if "remote" in words else []))
    assert result.code
    for secret in (KEY_ID, SIGNATURE):
        assert secret not in result.out + result.err, result
    assert "X-Amz-Signature=[signature]" in result.err


def test_names_of_twelve_digits_stay_in_errors(capsys: pytest.CaptureFixture[str]) -> None:
    result = caller(capsys, "sagemaker", "status")("--config", "202611232031.toml")
    assert "202611232031" in result.err
