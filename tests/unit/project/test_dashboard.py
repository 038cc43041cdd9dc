"""The Grafana dashboard: its panels fit together, and Grafana's own model knows every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

import config

DASHBOARD: dict[str, Any] = json.loads((Path(config.__file__).parent / "grafana" / "pairing.json").read_text())


def test_the_dashboard_is_one() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    assert DASHBOARD["id"] is None  # else it would overwrite whatever has that number
    (source,) = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    register_default_plugins()  # the panels' own options too
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(not_understood(DASHBOARD, understood)) == ["id"]  # it leaves out what is null

    panel = DASHBOARD["panels"][0]
    misspelt = DASHBOARD | {"panels": [panel | {"options": panel["options"] | {"legnd": True}}]}
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(misspelt)))
    assert "panels.0.options.legnd" in list(not_understood(misspelt, understood))


def not_understood(given: Any, understood: Any, at: str = "") -> Iterator[str]:
    """The fields of what is given that are missing or other in what was understood, which may have more."""
    if isinstance(given, dict | list) and type(given) is type(understood):
        there = dict(enumerate(understood)) if isinstance(given, list) else understood
        for key, value in enumerate(given) if isinstance(given, list) else given.items():
            yield from not_understood(value, there.get(key, "nothing"), f"{at}.{key}".lstrip("."))
    elif given != understood:
        yield at
