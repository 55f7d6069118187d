"""The OpenAPI document is true: nothing comes back that it does not tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from models import write_bundle
from motrail.config import ServeSettings, Settings
from motrail.detect.bundle import read_bundle
from motrail.detect.detector import load_detector
from motrail.serve.jobs import Jobs
from served import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("kit")
    bundle = read_bundle(write_bundle(folder / "spots"))
    settings = Settings(serve=ServeSettings(jobs_folder=str(folder / "jobs"), body_seconds=5))
    jobs = Jobs(bundle, None, settings, settings.serve)
    with serving(load_detector(folder / "spots"), settings, jobs=jobs) as server:
        yield server


def test_it_names_every_route(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert {(path, method) for path, item in document["paths"].items() for method in item} == {
        ("/ping", "get"),
        ("/model", "get"),
        ("/metrics", "get"),
        ("/openapi.json", "get"),
        ("/invocations", "post"),
        ("/jobs", "post"),
        ("/jobs", "get"),
        ("/jobs/{id}", "get"),
        ("/jobs/{id}", "delete"),
        ("/jobs/{id}/result", "get"),
    }


def check(served: Served, examples: int, seed: int) -> int:
    """Ask for everything in strange ways; gives the number of questions."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st
    from schemathesis.checks import not_a_server_error, response_schema_conformance
    from schemathesis.checks import response_headers_conformance as headers_conformance
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_dict(served.client.get("/openapi.json").json())
    wanted = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        headers_conformance,
        response_schema_conformance,
    ]
    operations: Any = list(schema.get_all_operations())
    asked = 0
    strategies = [found.ok().as_strategy() for found in operations]

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def ask(data: Any) -> None:
        nonlocal asked
        for strategy in strategies:
            case = data.draw(strategy)
            case.call_and_validate(base_url=served.url, checks=wanted)
            asked += 1

    ask()
    return asked


@pytest.mark.filterwarnings("default")
def test_strange_questions(served: Served) -> None:
    assert check(served, examples=20, seed=1) >= 200


@pytest.mark.proof
@pytest.mark.filterwarnings("default")
def test_many_strange_questions(served: Served) -> None:
    for seed in range(4):
        check(served, examples=300, seed=seed)
