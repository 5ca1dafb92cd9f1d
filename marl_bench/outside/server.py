"""draft"""

from typing import Any


def ask_server(plan: Any, cell: Any, done: Any) -> Any:
    raise NotImplementedError
