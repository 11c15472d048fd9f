"""The variables of PaddleOCR-VL's gateway, which set what they do there, so that a deployment of it can be replaced."""

import logging
from collections.abc import Mapping
from typing import Any, Final

_log = logging.getLogger(__name__)

_OF_GATEWAYS: Final[Mapping[str, str]] = {
    "HPS_TRITON_URL": "gateway__triton_url",
    "HPS_VLM_URL": "gateway__vlm_url",
    "HPS_MAX_CONCURRENT_REQUESTS": "gateway__max_inference_requests",
    "HPS_MAX_CONCURRENT_INFERENCE_REQUESTS": "gateway__max_inference_requests",
    "HPS_MAX_CONCURRENT_NON_INFERENCE_REQUESTS": "gateway__max_other_requests",
    "HPS_INFERENCE_TIMEOUT": "gateway__timeout_s",
    "HPS_HEALTH_CHECK_TIMEOUT": "gateway__health_timeout_s",
    "HPS_LOG_LEVEL": "log_level",
    "GPU_DEVICE_ID": "engine__device",
    "HPS_DEVICE_ID": "engine__device",
}
"""Variables of the gateway of PaddleOCR-VL, older names first, and what they set here. Its `HPS_UVICORN_WORKERS` sets
nothing: one process serves all, so that limits hold for all."""


def of_gateways(environment: Mapping[str, str]) -> dict[str, Any]:
    """What is given of them, as `{"engine__device": "1"}`; warns of one that has no effect."""
    given = {name: environment[variable] for variable, name in _OF_GATEWAYS.items() if environment.get(variable)}
    if "log_level" in given:
        given["log_level"] = given["log_level"].upper()
    for variable in ("HPS_UVICORN_WORKERS", "UVICORN_WORKERS"):
        if environment.get(variable, "1") not in ("", "1"):
            _log.warning("%s has no effect: one process serves all callers, within limits that hold for all", variable)
    return given
