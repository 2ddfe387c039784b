#!/usr/bin/env python3
"""Puts the machines of an allocation into a configuration.

    hosts.py CONFIG                         prints the names of the configuration's hosts, one a line
    hosts.py CONFIG --port PORT --keys FOLDER MACHINE...
                                            prints the configuration with a `hosts:` section in which the first name
                                            stands for the first machine, and so on; FOLDER/MACHINE.pub is the public
                                            key of the node there

What `hosts:` says in CONFIG besides names is dropped, everything else stays as it is, comments too. It has to be written
in lines, one for each host at least, as in

    hosts:
      bench: { endpoint: "tcp://127.0.0.1:7600" }
      rack: { endpoint: "tcp://127.0.0.1:7600" }
"""

import argparse
import re
import sys
from pathlib import Path

SECTION = re.compile(r"""(?:hosts|"hosts"|'hosts')\s*:\s*(?P<rest>[^\s#].*)?(?:#.*)?$""")
HOST = re.compile(r"""(?P<indent> +)(?P<quote>["']?)(?P<name>[A-Za-z0-9_-]{1,64})(?P=quote)\s*:(?:\s|$)""")


def split(lines):
    """Lines before the section `hosts:`, its own, and those after it."""
    begins = [number for number, line in enumerate(lines) if SECTION.match(line)]
    if len(begins) != 1:
        raise ValueError(f"has {len(begins) or 'no'} top-level sections `hosts:`; one is needed, with a name for each machine")
    begin = begins[0]
    if SECTION.match(lines[begin])["rest"]:
        raise ValueError(f"line {begin + 1}: write each host on a line of its own below `hosts:`")
    end = begin + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0] in " #"):
        end += 1
    # Comments and empty lines before the next section belong to that one.
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return lines[:begin], lines[begin + 1:end], lines[end:]


def names(section):
    """The names of the hosts: keys at the indentation of the first."""
    found, indent = [], None
    for line in section:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = len(line) - len(line.lstrip(" "))
        indent = depth if indent is None else indent
        if depth > indent:
            continue
        match = HOST.match(line)
        if not match or depth < indent:
            raise ValueError(f"cannot read a host's name in: {line.strip()}")
        found.append(match["name"])
    if not found:
        raise ValueError("`hosts:` names no host")
    if len(set(found)) != len(found):
        raise ValueError("`hosts:` names a host twice")
    return found


def public_key(path):
    key = path.read_text().strip()
    if not re.fullmatch(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}", key):
        raise ValueError(f"{path} holds no public key of `hermes keygen`")
    return key


def endpoint(machine, port):
    return f"tcp://[{machine}]:{port}" if ":" in machine else f"tcp://{machine}:{port}"


def placed(text, machines, port, keys):
    """The configuration with its hosts on these machines."""
    before, section, after = split(text.splitlines())
    hosts = names(section)
    if len(machines) < len(hosts):
        raise ValueError(f"has {len(hosts)} hosts ({', '.join(hosts)}), and there are only {len(machines)} machines")
    lines = [f'  {name}: {{ endpoint: "{endpoint(machine, port)}", key: "{public_key(keys / f"{machine}.pub")}" }}'
             for name, machine in zip(hosts, machines)]
    return "\n".join([*before, "hosts:", *lines, *after]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--port", type=int, default=7600)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("machines", nargs="*", metavar="MACHINE")
    words = parser.parse_intermixed_args()
    if words.machines and not words.keys:
        parser.error("machines need --keys")
    try:
        text = words.config.read_text()
        if words.machines:
            sys.stdout.write(placed(text, words.machines, words.port, words.keys))
        else:
            print("\n".join(names(split(text.splitlines())[1])))
    except (OSError, ValueError) as problem:
        sys.exit(f"hosts.py: {words.config}: {problem}")


if __name__ == "__main__":
    main()
