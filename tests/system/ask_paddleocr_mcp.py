"""Asks a service through PaddleOCR's own MCP server (`paddleocr_mcp`, self-hosted), as an assistant would.

Runs in an environment of its own, where that package is: `python ask_paddleocr_mcp.py ADDRESS FILE...` prints a
list of JSON: what the tool `ocr` says of each file.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from fastmcp import Client  # type: ignore[import-not-found]
from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]


async def ask(address: str, files: list[Path]) -> list[Any]:
    """What the tool says of each file."""
    arguments = ["-m", "paddleocr_mcp", "--ppocr_source", "self_hosted", "--self-hosted-base-url", address]
    answers = []
    async with Client(StdioTransport(sys.executable, arguments)) as client:
        for file in files:
            call = {
                "input_data": base64.b64encode(file.read_bytes()).decode(),
                "output_mode": "detailed",
                "file_type": "pdf" if file.suffix == ".pdf" else "image",
                "runtime_params": {"text_rec_score_thresh": 0.5, "use_textline_orientation": False},
            }
            answer = await client.call_tool("ocr", call)
            answers.append(json.loads(answer.content[0].text))
    return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(ask(sys.argv[1], [Path(name) for name in sys.argv[2:]]))) + "\n")
