"""Data inside the page: JSON in inert script elements, compressed where there is much of it."""

import base64
import json
import re
import zlib
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def inert_json(data: Any) -> str:
    """Returns compact JSON that can stand inside a script element: no `<` that could end it, no half of a surrogate pair."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c")
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def data_block(name: str, data: Any, *, compress: bool) -> str:
    """Returns one data element of the page.

    Args:
        name: Its id.
        data: What the script reads back.
        compress: Deflate it and write it as base64, to be read with the browser's DecompressionStream.
    """
    text = inert_json(data)
    if not compress:
        return f'<script type="application/json" id="{name}">{text}</script>\n'
    packed = base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>\n'
