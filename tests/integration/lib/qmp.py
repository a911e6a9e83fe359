"""Clients of a control socket, for tests."""

import json
import socket
import time


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
    """A program that speaks QMP, line by line, and waits for `seconds` at most. Use as a context."""

    def __init__(self, path, seconds=60):
        self.socket = connect(path, seconds)
        self.lines = self.socket.makefile("rw", encoding="utf-8", newline="\n")
        self.greeting = json.loads(self.lines.readline())
        self.events = []
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, command, **arguments):
        """What it returns; events that come meanwhile are kept."""
        answer = self.send(command, **arguments)
        if "return" not in answer:
            raise AssertionError(f"{command} {arguments}: {answer}")
        return answer["return"]

    def send(self, command, **arguments):
        """The whole answer, an error too."""
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            message = json.loads(self.lines.readline())
            if "event" not in message:
                return message
            self.events.append(message)

    def wait_for_event(self, name):
        while True:
            message = self.events.pop(0) if self.events else json.loads(self.lines.readline())
            if message["event"] == name:
                return message.get("data")
