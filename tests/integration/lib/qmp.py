"""A client of QMP, written from QEMU's specification of it (docs/interop/qmp-spec) and its schema.

Client: a conversation at a unix socket: greeting, negotiation, commands with ids, events that come at any time.
"""

import itertools
import json
import socket
import time

SECONDS = 120


class Fault(Exception):
    """What the other side says is wrong."""

    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.error_class, self.description = error["class"], error["desc"]


def connect(path, seconds):
    """A socket that is connected to `path`, which may be there in a while only."""
    end = time.monotonic() + seconds
    while True:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(seconds)
        try:
            made.connect(path)
            return made
        except OSError:
            made.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Client:
    """Use as a context. Events are kept until they are asked for."""

    def __init__(self, path, seconds=SECONDS):
        self._socket = connect(path, seconds)
        self._lines = self._socket.makefile("rb")
        self._ids = itertools.count(1)
        self.events = []
        self.greeting = self._receive()["QMP"]
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._lines.close()
        self._socket.close()

    def ask(self, command, **arguments):
        """What it returns. Where arguments have a - in their names: **{"a-b": 1}."""
        number = next(self._ids)
        message = {"execute": command, "id": number}
        if arguments:
            message["arguments"] = arguments
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = self._receive()
            if "event" in answer:
                self.events.append(answer)
            elif answer.get("id") != number:
                raise ValueError(f"an answer to another question: {answer}")
            elif "error" in answer:
                raise Fault(answer["error"])
            else:
                return answer["return"]

    def wait_for_event(self, name):
        """The data of the next one of this name; others that come before it are dropped."""
        while True:
            event = self.events.pop(0) if self.events else self._receive()
            if event["event"] == name:
                return event.get("data")

    def _receive(self):
        line = self._lines.readline()
        if not line:
            raise EOFError("the other side has ended the conversation")
        return json.loads(line)
