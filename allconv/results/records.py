"""Records of finished runs as text: the evidence for the numbers in the tables."""

import json


def to_json(outcome: dict) -> str:
    """JSON with one line an entry, and one line an epoch or a row of a matrix."""
    lines = []
    for key, value in outcome.items():
        if isinstance(value, list) and value and isinstance(value[0], dict | list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f' "{key}": [\n  {rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}"
