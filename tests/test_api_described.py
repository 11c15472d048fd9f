"""What the description of the API promises, tried by a fuzzer that reads nothing else.

Schemathesis (MIT) rather than strategies of our own: it knows how a description makes calls that fit it and calls that
break it, checks answers against it, and nobody here chose its cases. It brings seven packages that nothing else here
needs, to tests alone; its pytest plugin stays off, as it would be loaded for every test.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as trying
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from platoon.api.paddlex.gateway import pipeline_for
from platoon.api.serve import HttpServer
from platoon.documents.exports.form import Form
from platoon.documents.job_service import JobService
from platoon.documents.jobs import Limits, Order
from platoon.documents.runner import JobRunner
from platoon.ocr.engine import TextEngine
from platoon.ocr.served import PLATE_RECOGNITION, TEXT_DETECTION, TEXT_RECOGNITION
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, JobSettings, ServiceSettings, Settings
from tests.drawn import INVOICE, document, encoded, page
from tests.fake_site import FakeSite, camera, event
from tests.job_service import opened
from tests.scripted_reader import ScriptedReader

PATIENCE_S = 60
CALLS = 15
"""Of each operation and kind; more find nothing new, and take longer."""
STREAM = "/api/captions/stream"
"""Goes on for ever; it has tests of its own (`test_api_captions`)."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
THERE: dict[str, st.SearchStrategy[str]] = {
    "model": st.sampled_from((TEXT_DETECTION, PLATE_RECOGNITION, TEXT_RECOGNITION)),
    "version": st.just("1"),
    "camera": st.just("gate"),
    "event": st.just("e1"),
    "number": st.just("1"),
    "form": st.sampled_from([form.value for form in Form]),
}
SMALL = page(("Ink", 4, 26), size=(64, 32))
FILES = st.sampled_from((encoded(SMALL), encoded(SMALL, "JPEG"), document([SMALL] * 2))) | st.binary(max_size=99)

schemathesis.openapi.format("binary", FILES)
schemathesis.openapi.format("byte", FILES.map(lambda data: base64.b64encode(data).decode()))


@dataclass
class Described:
    """A running service with cameras, by its description."""

    address: str
    caller: requests.Session
    operations: list[Any]
    there: Mapping[str, st.SearchStrategy[str]]
    """What a call must name to get anywhere."""

    def read(self) -> Any:
        """What the service reads in an honest picture."""
        honest = {"image": encoded(page(*INVOICE))}
        reply = self.caller.post(f"{self.address}/ocr", files=honest, timeout=PATIENCE_S)
        assert reply.status_code == 200, reply.text
        return reply.json()["lines"]


@pytest.fixture(scope="module")
def described(text_engine: TextEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    site = FakeSite(tmp_path_factory.mktemp("site"), camera("gate"))
    site.record(event("e1"), np.full((20, 60, 3), 200, np.uint8))
    limits = ServiceSettings(max_pixels=1_000_000, max_body_bytes=4_000_000, max_pages=4, fetch=False)
    service = OcrService(text_engine, limits, site.metrics)
    try:
        settings = Settings(api=ApiSettings(port=0), service=limits, jobs=JobSettings(max_waiting=10_000))
        folder = tmp_path_factory.mktemp("jobs")
        with (
            closing(opened(folder, Limits.of(settings))) as jobs,
            JobRunner(jobs, ScriptedReader(), site.metrics, at_once=1),
            pipeline_for(service, settings, None) as pipeline,
            HttpServer(
                site,
                settings,
                service=service,
                job_service=JobService(jobs, lambda _: None, settings),
                pipeline=pipeline,
            ) as http_server,
            requests.Session() as caller,
        ):
            caller.trust_env = False
            schema = schemathesis.openapi.from_url(f"{http_server.address}/openapi.json")
            schema.validate()
            operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
            assert len(operations) == sum(map(len, schema.raw_schema["paths"].values()))
            job = jobs.add(Order(batch="b1", form=json.dumps({"model": "PP-OCRv6", "payload": {}})), b"2")
            known = {"task_id": job.id, "job_id": job.id, "batch_id": "b1"}
            there = THERE | {name: st.just(value) for name, value in known.items()}
            yield Described(http_server.address, caller, operations, there)
    finally:
        service.close()


def strategy(
    operation: Any, mode: GenerationMode, there: Mapping[str, st.SearchStrategy[str]]
) -> st.SearchStrategy[Case[Any]]:
    """Calls of an operation, most about something that is there."""
    asked: st.SearchStrategy[Case[Any]] = operation.as_strategy(mode)
    names = {parameter.name for parameter in operation.path_parameters}
    if not names:
        return asked
    about = st.fixed_dictionaries({name: there[name] for name in names})
    return about.flatmap(lambda path: operation.as_strategy(mode, path_parameters=path)) | asked


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_call_that_the_description_leads_to_ends_in_another_way_than_it_says(
    described: Described, mode: GenerationMode
) -> None:
    expected = described.read()
    statuses: Counter[int] = Counter()
    for operation in described.operations:
        if operation.path == STREAM:
            continue
        if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
            continue  # there is no rule to break

        @trying(
            max_examples=CALLS,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(strategy(operation, mode, described.there))
        def call(case: Case[Any]) -> None:
            reply = case.call(session=described.caller, timeout=PATIENCE_S)
            statuses[reply.status_code] += 1
            case.validate_response(reply, checks=CHECKS)

        call()
        assert described.read() == expected, operation.label
    assert statuses[200] and statuses[404] and statuses[422], statuses
    assert described.caller.get(f"{described.address}/health/ready", timeout=PATIENCE_S).status_code == 200
