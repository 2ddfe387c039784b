"""What looks at a run or steers it from outside: nothing a client does, or leaves undone, holds up a frame or the end."""
import json
import os
import signal
import socket
import threading
import time

import pytest
from conftest import Running, segment_words, wait_for
from hosts import Hosts, hosts  # noqa: F401  the fixture

STATE_ENDED = 4


# ---- While a run ends

def test_a_command_to_a_run_that_is_ending_says_so(desk):
    """Its modules have terminated and its recording is still being written: the segment is there and says that it has ended."""
    desk.module("trouble")
    desk.write("m.trouble", "signals 400\n")
    config = f"""version: "0.2"
name: {desk.name}
modules:
  m: {{ type: process, executable: ./trouble, config: ./m.trouble, signals: [{{ name: s1, writable: true }}] }}
execution: {{ mode: realtime, rate_hz: 200 }}
"""
    pipe = desk.folder / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Running(desk, config, "--record", pipe, record=False) as run:
        run.ready().frame(200)  # more than a pipe holds
        run.process.send_signal(signal.SIGTERM)
        run.until(lambda: (segment_words(desk.name) or (0, 0))[0] == STATE_ENDED, "its modules have terminated")
        for words in (["get", desk.name, "m.s1"], ["set", desk.name, "m.s1=1"], ["list-signals", desk.name]):
            desk.command(*words).expect(2, desk.name, "has ended")
            assert segment_words(desk.name)[0] == STATE_ENDED, "the run was over; the test has missed its subject"
        os.set_blocking(reader, True)
        drained = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")])
        drained.start()
        assert run.finish().code == 130
        drained.join()
    os.close(reader)
