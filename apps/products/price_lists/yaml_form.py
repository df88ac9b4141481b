"""Price lists as YAML, to be edited by hand and kept under version control. Comments are not kept.

Every scalar is read as the text that stands there: no number passes through a float, and “no” is the country as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

from apps.pricing.formatting import plain_decimal
from apps.products.price_lists.building import ReadPriceList, build_price_list
from apps.products.price_lists.document import PriceList
from apps.products.price_lists.nodes import Faults, Node, Place, PriceListRefused
from apps.products.price_lists.writing import price_list_entries

MOST_DEPTH = 20
MOST_VALUES = 200_000
_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
# Written in C where the platform has it. It resolves nothing: every scalar is a text.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_yaml(text: str) -> ReadPriceList:
    """Read a price list. Raises PriceListRefused for a text that is no plain YAML; other faults are told."""
    faults = Faults()
    try:
        _refuse_tricks(text)
        tree = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _refused(line, f"This is no valid YAML: {error.problem or 'it breaks off'}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _refused(1, "The file holds characters that YAML does not allow.") from error
    if tree is None:
        raise _refused(1, "The file is empty.")
    return build_price_list(_node(tree, "", faults), faults=faults)


def _refuse_tricks(text: str) -> None:
    """Refuse what no price list needs, before anything is built: aliases could make a small file endless."""
    depth = documents = 0
    for values, event in enumerate(yaml.parse(text, Loader=_Loader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise _refused(line, "Aliases (*name) are not taken. Write the entries out.")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refused(line, "The file holds several documents. Keep one price list in a file.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH or values > MOST_VALUES:
            raise _refused(line, "The file is nested too deeply, or holds too many values. Split it.")


def _node(tree: yaml.Node, path: str, faults: Faults) -> Node:
    place = Place(tree.start_mark.line + 1, path or "file")
    if tree.tag not in _PLAIN_TAGS and not _is_untagged(tree):
        faults.add(place, "", f"The tag {tree.tag} is not taken. Write the value without it.")
        return Node(None, place)
    if isinstance(tree, yaml.SequenceNode):
        items = [_node(item, f"{path}[{number}]", faults) for number, item in enumerate(tree.value)]
        return Node(items, place)
    if isinstance(tree, yaml.MappingNode):
        return Node(_entries(tree, path, faults), place)
    return Node(_scalar(tree), place)


def _is_untagged(tree: yaml.Node) -> bool:
    return isinstance(tree, yaml.ScalarNode) and tree.tag in (None, "", "!")


def _entries(tree: yaml.MappingNode, path: str, faults: Faults) -> dict[str, Node]:
    entries: dict[str, Node] = {}
    for name, value in tree.value:
        key = str(name.value) if isinstance(name, yaml.ScalarNode) else "?"
        at = f"{path}.{key}" if path else key
        if key in entries:
            faults.add(Place(name.start_mark.line + 1, at), key, f"“{key}” stands here twice. Remove one of them.")
            continue
        entries[key] = _node(value, at, faults)
    return entries


def _scalar(tree: yaml.Node) -> str | bool | None:
    text = str(tree.value)
    if getattr(tree, "style", None):  # In quotes or a block: a text, whatever it looks like.
        return text
    if text in _NULLS:
        return None
    return _FLAGS.get(text, text)


def _refused(line: int, detail: str) -> PriceListRefused:
    faults = Faults()
    faults.add(Place(line, "file"), "", detail)
    return PriceListRefused(faults.in_order())


# --- Writing ---------------------------------------------------------------------------------------------------------


class _OneLine(dict[str, Any]):
    """A mapping that is written on one line."""


class _Words(list[str]):
    """A list that is written on one line."""


class _Number(str):
    """A number as a text in quotes, so that no other program makes a float of it."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # List items stand below their name, further in.

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    _OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
_Dumper.add_representer(
    _Words, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)
_Dumper.add_representer(
    str,
    # Line breaks of any kind and the like are escaped, which only double quotes can do.
    lambda dumper, data: dumper.represent_scalar(
        "tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"'
    ),
)
_Dumper.add_representer(
    _Number, lambda dumper, data: dumper.represent_scalar("tag:yaml.org,2002:str", str(data), style='"')
)


def write_yaml(document: PriceList) -> str:
    """The price list as YAML: the same list is always the same text."""
    entries = _written(price_list_entries(document))
    entries["price_list"] = int(entries["price_list"])
    return yaml.dump(entries, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)


def _written(value: Any, name: str = "") -> Any:
    if isinstance(value, Decimal):
        return _Number(plain_decimal(value))
    if isinstance(value, Mapping):
        entries = {key: _written(one, key) for key, one in value.items()}
        return _OneLine(entries) if name == "match" else entries
    if not isinstance(value, list):
        return value
    items = [_written(one) for one in value]
    if all(isinstance(one, str) for one in items):
        return _Words(items)
    if name in {"tiers", "rows", "filters", "products", "pricing_units"}:
        return [_OneLine(one) for one in items]
    if name == "amounts":
        return [one if {"tiers", "rows"} & set(one) else _OneLine(one) for one in items]
    return items
