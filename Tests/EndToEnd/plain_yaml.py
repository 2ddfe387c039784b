"""The part of YAML that our configurations use: block and flow maps and lists, plain and quoted scalars, comments.

Enough to give the examples of docs/frames.md to the model; anything else raises.
"""
import json
import re

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def load(text):
    lines = []
    for raw in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if line.strip():
            lines.append((len(line) - len(line.lstrip()), line.strip()))
    value, rest = _block(lines)
    if rest:
        raise ValueError(f"can't be read: {rest[0][1]}")
    return value


def dump(config):
    """A configuration as YAML: blocks for the two upper levels, JSON (which is YAML) below."""
    out = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            out.append(f"{key}:")
            out += [f"  {name}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in value.items()]
        elif isinstance(value, list) and value:
            out.append(f"{key}:")
            out += [f"  - {json.dumps(entry, ensure_ascii=False)}" for entry in value]
        else:
            out.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(out) + "\n"


def _block(lines):
    indent, first = lines[0]
    if first.startswith("- "):
        items = []
        while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
            items.append(_flow_text(lines[0][1][2:]))
            lines = lines[1:]
        return items, lines
    entries = {}
    while lines and lines[0][0] == indent:
        key, _, rest = lines[0][1].partition(":")
        lines = lines[1:]
        if rest.strip():
            entries[key] = _flow_text(rest)
        else:
            entries[key], lines = _block(lines)
    return entries, lines


def _flow_text(text):
    value, rest = _flow(text.strip())
    if rest.strip():
        raise ValueError(f"can't be read: {text}")
    return value


def _flow(text):
    if text.startswith("["):
        items, text = [], text[1:].lstrip()
        while not text.startswith("]"):
            item, text = _flow(text)
            items.append(item)
            text = text.lstrip().removeprefix(",").lstrip()
        return items, text[1:]
    if text.startswith("{"):
        entries, text = {}, text[1:].lstrip()
        while not text.startswith("}"):
            key, _, text = text.partition(":")
            entries[key.strip().strip('"')], text = _flow(text.lstrip())
            text = text.lstrip().removeprefix(",").lstrip()
        return entries, text[1:]
    if text.startswith('"'):
        value, end = json.JSONDecoder().raw_decode(text)
        return value, text[end:]
    word = re.match(r"[^,\[\]{}]*", text).group()
    return _scalar(word.strip()), text[len(word):]


def _scalar(word):
    if word in ("true", "false"):
        return word == "true"
    if re.fullmatch(r"[+-]?\d+", word):
        return int(word)
    return float(word) if NUMBER.fullmatch(word) else word
