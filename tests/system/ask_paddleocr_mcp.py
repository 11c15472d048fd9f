"""Asks a service through PaddleOCR's own MCP server (`paddleocr_mcp`, self-hosted), as an assistant would.

Runs in an environment of its own, where that package is: `python ask_paddleocr_mcp.py ADDRESS MODEL FILE...` prints a
list of JSON: what the tool of the model says of each file, a list of its texts and of the sizes of its pictures.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from fastmcp import Client  # type: ignore[import-not-found]
from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]

PARAMETERS = {
    "PP-OCRv6": {"text_rec_score_thresh": 0.5, "use_textline_orientation": False},
    "PP-StructureV3": {},
}
"""For each model; the client itself asks for charts unless told otherwise, which nothing here reads."""


async def ask(address: str, model: str, files: list[Path]) -> list[Any]:
    """What the tool says of each file."""
    source = ["--ppocr_source", "self_hosted", "--self-hosted-base-url", address]
    arguments = ["-m", "paddleocr_mcp", "--model", model, *source]
    answers: list[Any] = []
    async with Client(StdioTransport(sys.executable, arguments)) as client:
        for file in files:
            call = {
                "input_data": base64.b64encode(file.read_bytes()).decode(),
                "output_mode": "detailed",
                "file_type": "pdf" if file.suffix == ".pdf" else "image",
                "runtime_params": PARAMETERS[model],
            }
            (tool,) = await client.list_tools()
            answer = await client.call_tool(tool.name, call)
            answers.append([part.text if part.type == "text" else len(part.data) for part in answer.content])
    return answers


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], [Path(name) for name in sys.argv[3:]]))) + "\n"
    )
