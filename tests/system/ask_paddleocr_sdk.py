"""Has documents read through PaddleOCR's own SDK and through LangChain's loader, as programs do that use them.

Runs in an environment of its own, where these packages are: `python ask_paddleocr_sdk.py ADDRESS TOKEN FILE URL` prints
JSON: what each of them says of the file, or of the same file at the URL.
"""

import json
import sys
from typing import Any

from langchain_paddleocr import PaddleOCRVLLoader  # type: ignore[import-not-found]
from paddleocr import InvalidRequestError, Model, PaddleOCRClient, PPStructureV3Options  # type: ignore[import-not-found]
from pydantic import SecretStr


def ask(address: str, token: str, file: str, url: str) -> dict[str, Any]:
    """What they say."""
    with PaddleOCRClient(token=token, base_url=address) as client:
        read = client.ocr(file_path=file, model=Model.PP_OCRV6)
        chosen = client.ocr(file_url=url, page_ranges="2")
        options = PPStructureV3Options(use_table_recognition=True, prettify_markdown=False)
        parsed = client.parse_document(file_path=file, model=Model.PP_STRUCTURE_V3, options=options, batch_id="march")
        status = client.get_status(parsed.job_id)
        batch = client.get_batch_status("march")
        try:
            client.ocr(file_path=file, page_ranges="all")
            refused = ""
        except InvalidRequestError as error:
            refused = str(error)
    loaded = PaddleOCRVLLoader(file_path=file, access_token=SecretStr(token), base_url=address).load()
    found = [page.pruned_result["parsing_res_list"] for page in parsed.pages]
    return {
        "texts": [page.pruned_result["rec_texts"] for page in read.pages],
        "boxes": [page.pruned_result["rec_boxes"] for page in read.pages],
        "pages": read.data_info["numPages"],
        "chosen": [page.pruned_result["rec_texts"] for page in chosen.pages],
        "markdown": [page.markdown_text for page in parsed.pages],
        "blocks": [[block["block_content"] for block in blocks] for blocks in found],
        "status": [status.state, status.progress.total_pages, status.progress.extracted_pages],
        "batch": [[job.job_id == parsed.job_id, job.state] for job in batch.jobs],
        "refused": refused,
        "loaded": [document.page_content for document in loaded],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ask(*sys.argv[1:])) + "\n")
