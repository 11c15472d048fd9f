from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]

from platoon.engine.signature import TensorSpec, signature
from platoon.engine.surgery import Graph
from platoon.engine.triton_repository import configuration, export
from platoon.errors import InvalidSettings, ModelError
from platoon.plates.served import PURPOSES, served

model_config_pb2 = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed"
)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return served("plate-recognition")[0]


@pytest.mark.parametrize("name", PURPOSES)
def test_the_configuration_is_one_that_triton_can_parse(name: str) -> None:
    graph, parameters = served(name)
    config = text_format.Parse(configuration(graph, parameters, max_batch=12), model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 12)
    tensors = signature(graph)
    for described, spec in zip((*config.input, *config.output), (tensors.input, *tensors.outputs), strict=True):
        assert described.name == spec.name
        assert model_config_pb2.DataType.Name(described.data_type) == f"TYPE_{spec.datatype}"
        assert tuple(described.dims) == spec.shape[1:], "the items' axis is implied"
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert config.parameters["digest"].string_value == graph.digest


@pytest.mark.parametrize("text", ['say "hi"', "back\\slash", "line\nbreak", "tab\t", "京都 é 😀", "\u2028", "'", ""])
def test_parameters_come_back_as_they_were(graph: Graph, text: str) -> None:
    config = text_format.Parse(configuration(graph, {"note": text}, max_batch=1), model_config_pb2.ModelConfig())
    assert config.parameters["note"].string_value == text


def test_the_alphabet_names_the_classes_from_one_on() -> None:
    graph, parameters = served("plate-recognition")
    assert parameters["alphabet"].split("\n") == [*"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    assert signature(graph).input == TensorSpec("pixels", "UINT8", (-1, 48, -1, 3))
    assert len(served("text-recognition")[1]["alphabet"].split("\n")) == 18_709


def test_a_repository_holds_a_graph_and_its_configuration_for_each_model(graph: Graph, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "models"
    (folder / "other").mkdir(parents=True)
    for _ in range(2):
        assert export([(graph, {})], folder, max_batch=4) == [folder / "plate-recognition"]
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["plate-recognition/1/model.onnx", "plate-recognition/config.pbtxt"]
    written = onnx.load_model(folder / files[0])
    assert [output.name for output in written.graph.output] == ["ids", "scores"]
    assert (folder / "other").is_dir()


def test_a_folder_that_cannot_be_written_is_named(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(InvalidSettings, match="models"):
        export([(graph, {})], tmp_path / "models", max_batch=4)


def test_a_graph_that_needs_work_around_it_is_refused(graph: Graph, tmp_path: Path) -> None:
    bare = Graph(graph.model, "bare", graph.proto, digest="", on_host=(signature,))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="could not be adapted"):
        export([(bare, {})], tmp_path, max_batch=4)
    assert not list(tmp_path.iterdir())
