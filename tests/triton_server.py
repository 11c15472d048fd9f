"""A real Triton on loopback, from the folder that `scripts/triton-env` makes.

Its only back end is Python's, so each graph of a repository is run there by ONNX Runtime; batching, checking of
shapes and the protocol are Triton's own, as the repository's configuration says.
"""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.running import free_ports

_DEADLINE_S = 60
_BACK_END = """
import pathlib
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        path = pathlib.Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def execute(self, requests):
        pixels = [pb.get_input_tensor_by_name(request, "pixels").as_numpy() for request in requests]
        ends = np.cumsum([len(part) for part in pixels])[:-1]
        columns = [np.split(whole, ends) for whole in self.session.run(None, {"pixels": np.concatenate(pixels)})]
        return [
            pb.InferenceResponse([pb.Tensor(name, part) for name, part in zip(self.outputs, parts)])
            for parts in zip(*columns)
        ]
"""


def home() -> Path:
    """Where `scripts/triton-env` puts it."""
    return Path(os.environ.get("PLATOON_TRITON_ENV", Path(__file__).parents[1] / ".venv-triton"))


class TritonServer:
    """Serves a model repository between `__enter__` and `__exit__`; `grpc` and `http` are its addresses.

    The repository is changed: the Python back end takes the place of ONNX Runtime's, unless a model is a program.
    """

    def __init__(self, repository: Path, *, grpc_port: int = 0) -> None:
        self._repository = repository
        self._ports = [*([grpc_port] if grpc_port else free_ports(1)), *free_ports(2)]
        self.grpc, self.http, _ = (f"127.0.0.1:{port}" for port in self._ports)
        self.log = repository.with_suffix(".log")

    def __enter__(self) -> Self:
        for model in self._repository.iterdir():
            config = model / "config.pbtxt"
            config.write_text(config.read_text().replace('backend: "onnxruntime"', 'backend: "python"'))
            if not (program := model / "1" / "model.py").exists():
                program.write_text(_BACK_END)
        env = home() / "env"
        (packages,) = env.glob("lib/python*/site-packages")
        grpc, http, metrics = map(str, self._ports)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(home() / "tritonserver", f"--model-repository={self._repository}"),
                    *(f"--backend-directory={home() / 'backends'}", "--log-verbose=0"),
                    *("--grpc-port", grpc, "--http-port", http, "--metrics-port", metrics),
                    # Names of shared memory: several servers may run at a time.
                    f"--backend-config=python,shm-region-prefix-name=platoon-{grpc}",
                ],
                env={**os.environ, "PATH": f"{env / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(packages)},
                stdout=log,
                stderr=log,
            )
        try:
            self._until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def kill(self) -> None:
        """End it without a goodbye."""
        self._process.kill()
        self._process.wait(_DEADLINE_S)

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(_DEADLINE_S)

    def _until_ready(self) -> None:
        transport = httpx.HTTPTransport(retries=0)
        with httpx.Client(transport=transport, timeout=5) as client:
            for _ in range(_DEADLINE_S * 10):
                if self._process.poll() is not None:
                    break
                try:
                    if client.get(f"http://{self.http}/v2/health/ready").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                try:
                    self._process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
        raise RuntimeError(f"Triton did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
