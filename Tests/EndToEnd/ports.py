"""Ports for nodes: blocks that nobody else on this machine has, and that these tests hand out once in a long while."""

import itertools
import random
import socket
import threading

PORTS_OF_A_NODE = 10
"""One for the node, the others for its runs."""


def port_blocks():
    """First ports of free blocks, below the range the kernel gives out by itself. A node that is not listening yet holds its
    block by this: it comes again when all others have been given."""
    blocks = list(range(10000, 32000, PORTS_OF_A_NODE))
    random.SystemRandom().shuffle(blocks)
    for first in itertools.cycle(blocks):
        if all(port_is_free(port) for port in range(first, first + PORTS_OF_A_NODE)):
            yield first


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Shared:
    """A generator that several threads draw from."""

    def __init__(self, generator):
        self.generator, self.lock = generator, threading.Lock()

    def __next__(self):
        with self.lock:
            return next(self.generator)


BLOCKS = Shared(port_blocks())
