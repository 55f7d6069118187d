"""From clips to nothing left, by the command line: what a project does, needs, says and leaves."""

from __future__ import annotations

import copy
import importlib
import json
import random
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from commands import caller
from motrail.errors import ConfigError
from motrail.sagemaker.rules import check
from sagemaker_changes import CHANGES, GONE
from sagemaker_life import (
    ACCOUNT,
    PLANTED,
    Life,
    Size,
    begin,
    with_bodies,
    written,
)
from sagemaker_policy import OPERATOR, SETUP, Permissions, listed
from sagemaker_rehearsing import members
from sagemaker_shapes import CheckedRehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Prove
    from motrail.sagemaker.request import Request

# Each export of a trained network takes as long as all else that a job does.
SHORT = Size(clips=2, frames=8, epochs=2, trials=1, trial_epochs=1, tracked=12, trained=False)
FULL = Size(clips=6, frames=24, epochs=12, trials=3, trial_epochs=3, tracked=50, trained=True)
NEVER_DELETED = {"labelling jobs", "log groups"}
"""Records of labelling jobs, as SageMaker has no way to delete them; and the log groups, by now
empty, that all jobs of an account share."""

OF_ITS_REST = {
    "async-topics", "inference-ami", "instance-preferences", "parameter-names", "parameter-range",
    "scaling-policy", "serverless-limits", "variant-names", "zero-capacity",
}  # fmt: skip
"""Rules that a change breaks or does not, by what else stands in the request."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "size",
    [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.proof)],
)
def test_a_whole_life(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    prove: Prove,
    size: Size,
) -> None:
    life = begin(tmp_path, caller(capsys), size, monkeypatch)
    life.live()
    see_the_labels(life, prove)
    see_the_training(life, prove)
    see_the_tracks(life, prove)
    see_the_messages(life, prove)
    see_that_nothing_is_left(life, prove)
    see_the_requests(life, prove)
    see_the_permissions(life, prove)
    see_that_nobody_tells(life, caplog.text, prove)
    see_the_corruptions(life, tmp_path / "other", prove)
    whole = sum(life.seconds.values())
    steps = ", ".join(f"{step} {seconds:.0f}" for step, seconds in life.seconds.items())
    prove("SageMaker: a whole life, rehearsed", "", f"{whole:.0f} s: {steps}")


# What came of it ---------------------------------------------------------------------------------


def see_the_labels(life: Life, prove: Prove) -> None:
    found, size = life.found["labels"], life.size
    assert (found["sequences"], found["frames"]) == (size.clips, size.clips * size.frames)
    assert found["boxes"] == life.found["drawn"] == 3 * size.clips * size.frames
    assert found["classes"] == ["spot"]
    prove("… labels drawn and imported", "all", f"{found['boxes']} of {life.found['drawn']}")


def see_the_training(life: Life, prove: Prove) -> None:
    """It was interrupted once, went on where it was, and each trial came to an end."""
    training, tuning = life.found["training"], life.found["tuning"]
    lines = life.found["training log"]
    told = [match[1] for line in lines if (match := re.match(r"motrail: epoch=(\d+) ", line))]
    epochs = [str(number) for number in range(1, life.size.epochs + 1)]
    *each, best = told  # at the end it tells of the best once more
    assert each == epochs, told  # none was begun anew
    assert best in epochs
    (resumed,) = [line for line in lines if line.startswith("going on after epoch ")]
    states = [step["Status"] for step in life.found["training job"]["SecondaryStatusTransitions"]]
    assert states.count("Interrupted") == 1, states
    for name in ("trained", "tuned"):
        assert (life.folder / name / "model.tar.gz").is_file()
    trials = tuning["trials"]
    assert [trial["status"] for trial in trials] == ["Completed"] * life.size.trials
    values = {trial["number"]: trial["value"] for trial in trials}
    assert values[tuning["best"]] == max(values.values())
    metrics = training["metrics"]
    interrupted = states.count("Interrupted")
    prove("… spot interruptions in training", "1, goes on", f"{interrupted}, {resumed}")
    prove("… AP after training", "", f"{metrics['validation:AP']:.4f}")
    prove(
        "… trials, and the best AP",
        f"{life.size.trials}",
        f"{len(trials)}, {max(values.values()):.4f}",
    )


def see_the_tracks(life: Life, prove: Prove) -> None:
    found = life.found
    own = found["own"]
    assert own.count(b"\n") > life.size.tracked, own  # there is something in it
    same = [found[name] == own for name in ("session --png", "session --raw", "async")]
    assert all(same), same
    assert found["tracks"] == found["wanted"]
    assert all(found["wanted"].values())
    assert [row["state"] for row in found["batch"]["videos"]] == ["done"] * 5
    assert found["picture"]["detections"]
    rows = own.count(b"\n") + sum(tracks.count(b"\n") for tracks in found["wanted"].values())
    prove(
        "… track files that are motrail track's", "3 + 5", f"{sum(same)} + {len(found['tracks'])}"
    )
    prove("… boxes in them", "> 0", rows)
    instances = {
        request.parameters["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
        for request in life.calls
        if request.operation == "CreateProcessingJob"
    }
    assert max(instances) == 3


def see_the_messages(life: Life, prove: Prove) -> None:
    project = life.found["project"]
    messages = [(one["TopicArn"], json.loads(one["Message"])) for one in life.found["messages"]]
    assert [(topic, message["invocationStatus"]) for topic, message in messages] == [
        (project.success_topic, "Completed"),
        (project.error_topic, "Failed"),
    ]
    assert "(413)" in messages[1][1]["failureReason"]
    assert "large.mp4" in life.found["refusal"].err or "too large" in life.found["refusal"].err
    prove("… SNS messages", "success, error", ", ".join(m["invocationStatus"] for _, m in messages))


def see_that_nothing_is_left(life: Life, prove: Prove) -> None:
    alive, left = life.found["alive"], life.found["left"]
    empty = {kind for kind, names in alive.items() if not names}
    assert not empty, empty  # all lists had something in them
    assert {kind for kind, names in left.items() if names} <= NEVER_DELETED, left
    lists = len(alive)
    things = sum(len(names) for names in alive.values())
    still = {kind: len(names) for kind, names in left.items() if names}
    prove("… left after cleanup", "nothing", f"of {things} things in {lists} lists: {still}")


# What was asked for ------------------------------------------------------------------------------


def see_the_requests(life: Life, prove: Prove) -> None:
    """Each is right by botocore's own validator, and by our rules, once more."""
    botocore: Any = importlib.import_module("botocore.session")
    validate: Any = importlib.import_module("botocore.validate")
    session, validator = botocore.get_session(), validate.ParamValidator()
    models: dict[str, Any] = {}
    kinds = set()
    for request in map(with_bodies, life.calls):
        model = models.setdefault(request.service, session.get_service_model(request.service))
        shape = model.operation_model(request.operation).input_shape
        if shape is not None:
            report = validator.validate(request.parameters, shape)
            assert not report.has_errors(), report.generate_report()
        check(request)
        kinds.add((request.service, request.operation))
    prove("… requests that are right", "all", f"{len(life.calls)} of {len(kinds)} kinds")


def see_the_permissions(life: Life, prove: Prove) -> None:
    """Each is allowed; and nothing of a service is allowed that is never needed."""
    project = life.found["project"]
    permissions = Permissions(project)
    needed: dict[str, set[str]] = defaultdict(set)
    accesses = set()
    for request in life.calls:
        for who, access in permissions.needs(request):
            assert permissions.allows(who, access), (request.operation, who, access)
            needed[who].add(access.action.partition(":")[0])
            accesses.add((who, access.action, access.resource))
    # CloudFormation makes what is in the stack by the rights of those who set it up.
    made = {about["Type"] for about in permissions.document["Resources"].values()}
    needed[SETUP] |= {kind.split("::")[1].lower() for kind in made}
    for who, statements in permissions.policies.items():
        allowed = {
            action.partition(":")[0]
            for statement in statements
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
        }
        assert "*" not in allowed
        assert allowed <= needed[who], (who, allowed - needed[who])
    assert {OPERATOR, SETUP, "training", "serving", "processing", "labeling"} <= needed.keys()
    prove("… accesses that policies allow", "all", f"{len(accesses)} of {len(needed)} principals")


# What was said -----------------------------------------------------------------------------------


def see_that_nobody_tells(life: Life, log: str, prove: Prove) -> None:
    said = [*life.said, log]
    for secret in PLANTED:
        for text in said:
            assert secret not in text, next(line for line in text.splitlines() if secret in line)
    files = 0
    for path in written(life):
        content = path.read_bytes()
        if path.suffixes[-2:] == [".tar", ".gz"]:
            content = b"".join(members(content).values())
        files += 1
        # A component's recipe names the image, whose registry is the account's.
        known = {ACCOUNT} if path.parent.name == "recipes" else set()
        for secret in set(PLANTED) - known:
            assert secret.encode() not in content, (path, secret[:12])
    assert "[signature]" in "".join(life.said)  # they were there to be told
    size = sum(map(len, said))
    prove("… secrets in outputs and files", "none", f"none in {size:,} letters and {files} files")


# What would be refused ---------------------------------------------------------------------------


def see_the_corruptions(life: Life, folder: Path, prove: Prove) -> None:
    """The life's own requests, made wrong: none is sent, and each error names a rule."""
    by_kind: dict[str, Request] = {}
    for request in map(with_bodies, life.calls):
        by_kind.setdefault(request.operation, request)
    broken: list[tuple[Request, str | None]] = [(each, None) for each in known_corruptions(by_kind)]
    broken += seeded_corruptions(by_kind, 200)
    rules: set[str] = set()
    with CheckedRehearsal(folder) as cloud:
        for request, expected in broken:
            with pytest.raises(ConfigError, match=r"\[rule [a-z0-9-]+\]") as caught:
                cloud.call(request)
            rule = str(caught.value).rpartition("[rule ")[2].rstrip("]")
            assert expected in (None, rule), caught.value
            rules.add(rule)
        assert cloud.calls == []
    assert len(broken) >= 280
    prove("… corruptions refused before sending", "≥ 100", f"{len(broken)} by {len(rules)} rules")


def known_corruptions(life: dict[str, Request]) -> Iterator[Request]:
    """Each change of the list, where the life has made such a request with such a member."""
    for name, path, value, rule, _ in CHANGES:
        request = life.get(name.partition(" ")[0])
        if request is None or rule in OF_ITS_REST:
            continue
        parameters = copy.deepcopy(request.parameters)
        *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        try:
            place: Any = parameters
            for part in way:
                place = place[part]
            before = place[last]
        except (KeyError, IndexError):
            continue
        if value is GONE:
            del place[last]
        else:
            place[last] = value(before) if callable(value) else value
        yield request._replace(parameters=parameters)


def seeded_corruptions(life: dict[str, Request], count: int) -> Iterator[tuple[Request, str]]:
    """Members that do not exist, and values of a type that fits nowhere, wherever they stand."""
    draw = random.Random(7)  # noqa: S311
    requests = [request for _, request in sorted(life.items()) if request.parameters]
    for number in range(count):
        request = draw.choice(requests)
        parameters = copy.deepcopy(request.parameters)
        if number % 2:
            parameters[draw.choice(list(parameters)) + "s2"] = "x"
            yield request._replace(parameters=parameters), "unknown-member"
        else:
            parameters[draw.choice(list(parameters))] = object()
            yield request._replace(parameters=parameters), "type"
